package io.llara.engine;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.OutOfDeviceMemoryException;
import io.llara.attention.AttentionMask.Span;
import io.llara.kernels.Accelerator;
import io.llara.kernels.AcceleratorProvider;
import io.llara.kernels.Kernels;
import io.llara.kernels.LibtorchKernels;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Devices that are the processor in disguise: they count what they are asked for, and fail as their
 * public settings say.
 */
public final class FakeAccelerators implements AcceleratorProvider {
  static final Fake ROOMY = new Fake("fake:0", Long.MAX_VALUE);
  static final Fake TWIN = new Fake("fake:1", Long.MAX_VALUE);
  static final Fake SMALL = new Fake("fake:2", 100_000);

  @Override
  public String kind() {
    return "fake";
  }

  @Override
  public Optional<String> problem() {
    return Optional.empty();
  }

  @Override
  public int count() {
    return 3;
  }

  @Override
  public Accelerator open(int index) {
    return List.of(ROOMY, TWIN, SMALL).get(index);
  }

  /** One of them. */
  static final class Fake implements Accelerator, Kernels {
    private final String name;
    private final long freeBytes;
    private final Kernels kernels = new LibtorchKernels();
    final AtomicInteger lanes = new AtomicInteger();
    final AtomicInteger uploads = new AtomicInteger();
    final AtomicInteger attentions = new AtomicInteger();

    /** With more rows its memory does not suffice. */
    volatile int mostRows;

    /** What it fails with instead, in every pass. */
    volatile String failure;

    /** What it computes in if nothing else is wanted. */
    volatile ComputeType preferred;

    volatile boolean refusesUploads;

    /** Called at each norm. */
    volatile Runnable meanwhile;

    Fake(String name, long freeBytes) {
      this.name = name;
      this.freeBytes = freeBytes;
      recover();
    }

    void recover() {
      mostRows = Integer.MAX_VALUE;
      failure = null;
      preferred = ComputeType.FLOAT32;
      refusesUploads = false;
      meanwhile = () -> {};
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public List<String> description() {
      return List.of("the processor");
    }

    @Override
    public Kernels kernels() {
      return this;
    }

    @Override
    public Kernels trainingKernels() {
      return kernels;
    }

    @Override
    public ComputeType resolve(ComputeType wanted) {
      if (wanted == ComputeType.FLOAT16) {
        throw new DeviceException(name + " does not compute in float16");
      }
      return wanted == ComputeType.AUTO ? preferred : wanted;
    }

    @Override
    public long freeBytes() {
      return freeBytes;
    }

    @Override
    public Lane openLane() {
      lanes.incrementAndGet();
      return lanes::decrementAndGet;
    }

    @Override
    public Tensor upload(Tensor host, ScalarType type) {
      if (refusesUploads) {
        throw new RuntimeException("fake: " + name + " takes nothing");
      }
      uploads.incrementAndGet();
      try (TensorScope scope = new TensorScope()) {
        return scope.own(host.to(type));
      }
    }

    @Override
    public Optional<DeviceException> explain(RuntimeException failure) {
      String message = String.valueOf(failure.getMessage());
      if (!message.startsWith("fake: ")) {
        return Optional.empty();
      }
      return Optional.of(
          message.contains("out of memory")
              ? new OutOfDeviceMemoryException(message, failure)
              : new DeviceException(message, failure));
    }

    @Override
    public Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
      meanwhile.run();
      if (x.size(0) > mostRows) {
        throw new RuntimeException("fake: out of memory");
      }
      if (failure != null) {
        throw new RuntimeException(failure);
      }
      return kernels.rmsNorm(x, weight, eps);
    }

    @Override
    public Tensor rotary(Tensor x, Rotation rotation) {
      return kernels.rotary(x, rotation);
    }

    @Override
    public Tensor attention(Tensor q, Tensor k, Tensor v, List<Span> spans) {
      attentions.incrementAndGet();
      return kernels.attention(q, k, v, spans);
    }

    @Override
    public Tensor swiGlu(Tensor x, Projection gate, Projection up) {
      return kernels.swiGlu(x, gate, up);
    }
  }
}
