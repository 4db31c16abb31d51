package io.llara.cuda;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.kernels.Accelerator;
import io.llara.kernels.DeviceGroup;
import io.llara.kernels.Kernels;
import io.llara.tensor.TensorScope;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.DeviceType;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One GPU. */
final class CudaDevice implements Accelerator {
  private static final Logger LOG = LoggerFactory.getLogger(CudaDevice.class);

  /** The compute capability that brings bfloat16 and flash attention. */
  private static final int AMPERE = 80;

  /** The compute capability that brings products of float8. */
  private static final int ADA = 89;

  /** What is copied at once: large enough for the bus, small enough to overlap. */
  private static final long CHUNK_BYTES = 16 << 20;

  private final int index;
  private final Device device;
  private final CudaDriver driver;
  private final long context;
  private final String model;
  private final int capability;
  private final List<PackedAttention> attentions;
  private final Kernels kernels;
  private final Kernels trainingKernels;
  private final long freeAtFirst;
  private volatile boolean used;

  /** How operations are fused, or why they are not; for people. */
  private final String fusion;

  /**
   * Opens a device that there is.
   *
   * @throws DeviceException if the driver cannot be used
   */
  CudaDevice(int index) {
    this.index = index;
    // Kept as long as the process: no scope may own it.
    this.device = new Device(DeviceType.CUDA, (byte) index);
    device.retainReference();
    this.driver = new CudaDriver();
    this.context = driver.primaryContext(index);
    this.model = driver.name(index);
    this.capability = driver.capability(index);
    this.attentions =
        capability >= AMPERE
            ? List.of(new FlashAttention(), new EfficientAttention(), new DenseAttention())
            : List.of(new EfficientAttention(), new DenseAttention());
    @Nullable FusedOperations fused = null;
    String how;
    try (Lane lane = openLane()) {
      KernelCompiler compiler = new KernelCompiler(Loader.getCacheDir().toPath());
      fused = new FusedOperations(launcher(compiler));
      how = "compiled by NVRTC %s for %s".formatted(compiler.version(), architecture());
    } catch (IOException | DeviceException e) {
      how = "none, which is slower: " + DeviceErrors.firstLine(e);
      LOG.warn("{}: fused kernels: {}", name(), how);
    }
    this.fusion = how;
    this.freeAtFirst = driverFreeBytes();
    this.kernels = new CudaKernels(device, fused, attentions);
    this.trainingKernels = new CudaKernels(device, null, attentions);
  }

  /** Compiles and loads the fused kernels, on a thread that has a lane open. */
  Launcher launcher(KernelCompiler compiler) {
    return new DriverLauncher(driver, compiler.code(architecture()));
  }

  /** Returns what its code is compiled for, such as {@code sm_90}. */
  String architecture() {
    return "sm_" + capability;
  }

  @Override
  public String name() {
    return "cuda:" + index;
  }

  @Override
  public List<String> description() {
    List<String> lines = new ArrayList<>();
    lines.add(
        "%s, compute capability %d.%d, %s free"
            .formatted(
                model,
                capability / 10,
                capability % 10,
                String.format(Locale.ROOT, "%.1f GiB", freeBytes() / (double) (1L << 30))));
    lines.add(
        "attention: "
            + attentions.stream()
                .map(PackedAttention::name)
                .collect(Collectors.joining(", else ")));
    lines.add("fused kernels: " + fusion);
    return lines;
  }

  @Override
  public Kernels kernels() {
    return kernels;
  }

  @Override
  public Kernels trainingKernels() {
    return trainingKernels;
  }

  @Override
  public ComputeType resolve(ComputeType wanted) {
    if (wanted == ComputeType.INT8) {
      throw new DeviceException(
          "int8 is for the processor; on %s choose bfloat16".formatted(name()));
    }
    if (wanted == ComputeType.BFLOAT16 && capability < AMPERE) {
      throw new DeviceException(
          "%s (%s) has compute capability %d.%d and does not multiply bfloat16; choose float16 or float32"
              .formatted(name(), model, capability / 10, capability % 10));
    }
    if (wanted == ComputeType.FLOAT8 && capability < ADA) {
      throw new DeviceException(
          "%s (%s) has compute capability %d.%d and does not multiply float8, which takes 8.9; choose bfloat16"
              .formatted(name(), model, capability / 10, capability % 10));
    }
    if (wanted != ComputeType.AUTO) {
      return wanted;
    }
    return capability >= AMPERE ? ComputeType.BFLOAT16 : ComputeType.FLOAT32;
  }

  /**
   * {@inheritDoc}
   *
   * <p>Libtorch keeps what was freed, to use it again: once something was put here, what was free
   * before that is the most that there can be.
   */
  @Override
  public long freeBytes() {
    return used ? freeAtFirst : driverFreeBytes();
  }

  @Override
  public long driverFreeBytes() {
    try (Lane lane = openLane()) {
      return driver.freeBytes();
    }
  }

  /**
   * All lanes use libtorch's default stream: what one of them does on the processor, another's work
   * on the device hides.
   */
  @Override
  public Lane openLane() {
    long before = driver.enter(context);
    return () -> driver.enter(before);
  }

  /**
   * In chunks of pinned memory: while one is on its way, the next is read from the file. Libtorch
   * keeps a chunk until its copy is done, and uses it again.
   */
  @Override
  public Tensor upload(Tensor host, ScalarType type) {
    used = true;
    try (TensorScope scope = new TensorScope()) {
      TensorOptions placed = new TensorOptions(device).dtype(new ScalarTypeOptional(type));
      TensorOptions pinned = new TensorOptions(type).pinned_memory(new BoolOptional(true));
      Tensor copy = torch.empty_like(host, placed, null);
      Tensor from = host.reshape(-1);
      Tensor to = copy.view(-1);
      long step = CHUNK_BYTES / torch.elementSize(type);
      for (long begin = 0; begin < from.numel(); begin += step) {
        try (TensorScope chunk = new TensorScope()) {
          long count = Math.min(step, from.numel() - begin);
          Tensor staged = torch.empty(new long[] {count}, pinned, null);
          staged.copy_(from.narrow(0, begin, count));
          to.narrow(0, begin, count).copy_(staged, true);
        }
      }
      return scope.own(copy);
    }
  }

  @Override
  public Optional<DeviceGroup.Meeting> meeting() {
    if (!Boolean.getBoolean("io.llara.nccl")) { // Nobody has tried it on GPUs yet.
      return Optional.empty();
    }
    try {
      return Optional.of(NcclGroup.meeting(driver, this::openLane));
    } catch (DeviceException e) {
      LOG.warn("{}: sums over processes go through the processor: {}", name(), e.getMessage());
      return Optional.empty();
    }
  }

  @Override
  public Optional<DeviceException> explain(RuntimeException failure) {
    return failure instanceof DeviceException known
        ? Optional.of(known)
        : DeviceErrors.explain(name(), failure);
  }
}
