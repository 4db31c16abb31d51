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

  /** The device {@code neutral}. */
  public static final class Neutral implements AcceleratorProvider {
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
      return 1;
    }

    @Override
    public Accelerator open(int index) {
      return new Processor("neutral:0", neutral());
    }
  }

  private record Processor(String name, Kernels kernels) implements Accelerator {
    @Override
    public List<String> description() {
      return List.of("the processor");
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
