package io.llara.cuda;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.kernels.Accelerator;
import io.llara.kernels.AcceleratorProvider;
import io.llara.kernels.Kernels;
import io.llara.tensor.TensorScope;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** The kernels for GPUs on the processor, as devices that encoders can be opened on. */
public final class DisguisedAccelerators {
  private DisguisedAccelerators() {}

  /** Returns the kernels with the operations of {@code kernels.cu}; empty where it is not built. */
  public static Optional<Kernels> shim() {
    return ShimLauncher.create()
        .map(
            launcher ->
                new CudaKernels(
                    new Device("cpu"),
                    new FusedOperations(launcher),
                    List.of(new DenseAttention())));
  }

  /** Returns the kernels with libtorch's operators alone. */
  public static Kernels neutral() {
    return new CudaKernels(new Device("cpu"), null, List.of(new DenseAttention()));
  }

  /** The device {@code shim}. */
  public static final class Shim implements AcceleratorProvider {
    @Override
    public String kind() {
      return "shim";
    }

    @Override
    public Optional<String> problem() {
      return shim().isPresent()
          ? Optional.empty()
          : Optional.of("this build has no kernels.cu for the processor");
    }

    @Override
    public int count() {
      return shim().isPresent() ? 1 : 0;
    }

    @Override
    public Accelerator open(int index) {
      return new Processor("shim:0", shim().orElseThrow());
    }
  }

  /**
   * Returns libtorch's meta device, whose tensors have shapes, types and a device, but no elements:
   * an operator that gets one of them and one of the processor's refuses them.
   */
  public static Accelerator meta(ComputeType type) {
    Device meta = new Device("meta");
    meta.retainReference(); // As long as the process: no scope may own it.
    return new Processor("meta:0", new CudaKernels(meta, null, List.of(new PlainAttention()))) {
      @Override
      public ComputeType resolve(ComputeType wanted) {
        return type;
      }

      @Override
      public Kernels trainingKernels() {
        return kernels();
      }

      @Override
      public Tensor upload(Tensor host, ScalarType to) {
        try (TensorScope scope = new TensorScope()) {
          return scope.own(host.to(meta, to));
        }
      }
    };
  }

  /** The devices {@code neutral}. */
  public static final class Neutral implements AcceleratorProvider {
    private static final List<Accelerator> DEVICES =
        List.of(new Processor("neutral:0", neutral()), new Processor("neutral:1", neutral()));

    @Override
    public String kind() {
      return "neutral";
    }

    @Override
    public Optional<String> problem() {
      return Optional.empty();
    }

    @Override
    public int count() {
      return DEVICES.size();
    }

    @Override
    public Accelerator open(int index) {
      return DEVICES.get(index);
    }
  }

  /**
   * Of operators that the meta device has, which libtorch's attention is not made of there; those
   * of CUDA are asked whether they take the same.
   */
  private static final class PlainAttention implements PackedAttention {
    @Override
    public String name() {
      return "plain";
    }

    @Override
    public boolean suits(Tensor q) {
      return new FlashAttention().suits(q);
    }

    @Override
    public Tensor apply(Tensor q, Tensor k, Tensor v, PackedSequences sequences) {
      Schemas.assertTakes(
          "aten::_flash_attention_forward", FlashAttention.arguments(q, k, v, sequences));
      Schemas.assertTakes(
          "aten::_efficient_attention_forward", EfficientAttention.arguments(q, k, v, sequences));
      Tensor scores = torch.bmm(byHead(q, 1), byHead(k, q.size(1) / k.size(1)).transpose(1, 2));
      Tensor values = byHead(v, q.size(1) / v.size(1));
      return torch.bmm(torch.softmax(scores, 2), values).transpose(0, 1);
    }

    private static Tensor byHead(Tensor x, long groups) {
      return x.unsqueeze(2)
          .expand(x.size(0), x.size(1), groups, x.size(2))
          .flatten(1, 2)
          .transpose(0, 1);
    }
  }

  private static class Processor implements Accelerator {
    private final String name;
    private final Kernels kernels;

    Processor(String name, Kernels kernels) {
      this.name = name;
      this.kernels = kernels;
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public Kernels kernels() {
      return kernels;
    }

    @Override
    public List<String> description() {
      return List.of("the processor");
    }

    @Override
    public Kernels trainingKernels() {
      return neutral();
    }

    @Override
    public ComputeType resolve(ComputeType wanted) {
      return wanted == ComputeType.AUTO ? ComputeType.FLOAT32 : wanted;
    }

    @Override
    public long freeBytes() {
      return Long.MAX_VALUE;
    }

    @Override
    public Lane openLane() {
      return () -> {};
    }

    @Override
    public Tensor upload(Tensor host, ScalarType type) {
      try (TensorScope scope = new TensorScope()) {
        return scope.own(host.to(type));
      }
    }

    @Override
    public Optional<DeviceException> explain(RuntimeException failure) {
      return Optional.empty();
    }
  }
}
