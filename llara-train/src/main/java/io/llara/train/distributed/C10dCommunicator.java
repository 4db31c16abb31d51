package io.llara.train.distributed;

import com.google.common.base.Preconditions;
import com.google.common.base.Splitter;
import com.google.common.primitives.Bytes;
import com.google.common.primitives.Doubles;
import io.llara.DeviceException;
import io.llara.kernels.Accelerator;
import io.llara.kernels.DeviceGroup;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A process group over a backend of libtorch's c10d. Backends differ in how they are made and in
 * the device of the tensors they take; the operations are the same.
 */
final class C10dCommunicator implements Communicator {
  private static final Logger LOG = LoggerFactory.getLogger(C10dCommunicator.class);

  /** Looking whether a process is alive takes as long as a small all-reduce. */
  private static final long LAUNCHER_CHECK_NANOS = 200_000_000;

  /** How often a device is asked whether a sum is there. */
  private static final long DEVICE_CHECK_NANOS = 20_000;

  private final WorldSettings world;
  private final Duration timeout;
  private final Backend backend;
  private final Store store;
  private final Optional<Long> parent = parent();

  /** Operations that have not been awaited. Guarded by this, as all that follows. */
  private final Set<Operation> underWay = new HashSet<>();

  /** Sums on devices that have not been awaited. */
  private final Set<OnDevices> sumsOnDevices = new HashSet<>();

  private @Nullable DeviceGroup devices;
  private long nextLauncherCheck = System.nanoTime();
  private boolean closed;
  private @Nullable DistributedException broken;

  /**
   * Takes shares of the ownership of a backend and of its store, which the backend needs to stay
   * alive.
   *
   * @param timeout how long the backend waits for other ranks
   */
  C10dCommunicator(WorldSettings world, Duration timeout, Backend backend, Store store) {
    this.world = world;
    this.timeout = timeout;
    this.backend = backend.retainReference();
    this.store = store.retainReference();
  }

  @Override
  public int rank() {
    return world.rank();
  }

  @Override
  public int size() {
    return world.worldSize();
  }

  @Override
  public double[] allReduce(double... values) {
    if (values.length == 0) {
      return values;
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor tensor =
          torch.empty(new long[] {values.length}, new TensorOptions(ScalarType.Double), null);
      DoublePointer data = tensor.data_ptr_double();
      data.put(values);
      start("an all-reduce", () -> backend.allreduce(new TensorVector(tensor))).await();
      double[] sums = new double[values.length];
      data.get(sums);
      return sums;
    }
  }

  @Override
  public Pending allReduceAsync(List<Tensor> tensors) {
    tensors.forEach(C10dCommunicator::requireContiguousFloats);
    return tensors.stream().allMatch(Tensor::is_cpu)
        ? allReduceHere(tensors)
        : sumOnDevices(tensors).orElseGet(() -> throughHost(tensors));
  }

  @Override
  public void joinDevices(Accelerator device) {
    Optional<DeviceGroup.Meeting> meeting = device.meeting();
    byte[] own = new byte[DeviceGroup.Meeting.INVITATION_BYTES];
    Optional<byte[]> invitation =
        meeting.flatMap(
            it -> rank() == 0 ? tried("inviting", device, it::invite) : Optional.of(own));
    if (any(invitation.isEmpty())) {
      return;
    }
    // Those of the others are zeros.
    double[] sums = allReduce(Doubles.toArray(Bytes.asList(invitation.orElseThrow())));
    byte[] first = Bytes.toArray(Doubles.asList(sums));
    Optional<DeviceGroup> joined =
        tried("joining", device, () -> meeting.orElseThrow().join(first, rank(), size()));
    if (any(joined.isEmpty())) {
      joined.ifPresent(DeviceGroup::close);
      return;
    }
    synchronized (this) {
      devices = joined.orElseThrow();
    }
  }

  /** Without devices that meet, sums go through the processor. */
  private <T> Optional<T> tried(String what, Accelerator device, Supplier<T> step) {
    try {
      return Optional.of(step.get());
    } catch (DeviceException e) {
      LOG.warn(
          "rank {}, {}: {} the others' devices failed: {}",
          rank(),
          device.name(),
          what,
          e.getMessage());
      return Optional.empty();
    }
  }

  /** Has devices sum tensors that lie on them; empty if they have not joined. */
  synchronized Optional<Pending> sumOnDevices(List<Tensor> tensors) {
    DeviceGroup group = devices;
    if (group == null) {
      return Optional.empty();
    }
    requireUsable();
    try (TensorScope scope = new TensorScope()) {
      OnDevices operation = new OnDevices(tensors, group.sum(tensors));
      sumsOnDevices.add(operation);
      return Optional.of(operation);
    } catch (RuntimeException e) {
      throw fail("a sum on the devices", e);
    }
  }

  /** The backend takes tensors in the processor's memory: others go there and come back. */
  Pending throughHost(List<Tensor> tensors) {
    try (TensorScope scope = new TensorScope()) {
      TensorOptions host = new TensorOptions(ScalarType.Float);
      List<Tensor> copies =
          tensors.stream()
              .map(tensor -> torch.empty(tensor.shape(), host, null).copy_(tensor))
              .toList();
      Pending sums = allReduceHere(copies);
      return new ThroughHost(
          sums,
          tensors.stream().map(scope::own).toList(),
          copies.stream().map(scope::own).toList());
    }
  }

  private Pending allReduceHere(List<Tensor> tensors) {
    return start(
        "an all-reduce",
        () -> {
          TensorVector all = new TensorVector(tensors.toArray(Tensor[]::new));
          // The coalesced form copies into one buffer and back.
          return tensors.size() == 1 ? backend.allreduce(all) : backend.allreduce_coalesced(all);
        });
  }

  @Override
  public Tensor allGather(Tensor tensor) {
    requireContiguousFloats(tensor);
    Preconditions.checkArgument(tensor.dim() > 0, "a tensor without rows");
    try (TensorScope scope = new TensorScope()) {
      long[] shape = tensor.shape();
      shape[0] = Math.multiplyExact(shape[0], size());
      Tensor all = torch.empty(shape, new TensorOptions(ScalarType.Float), null);
      // The backend takes tensors in the processor's memory.
      start("an all-gather", () -> backend._allgather_base(all, tensor.cpu())).await();
      return scope.keep(Tensors.placed(all, tensor));
    }
  }

  static void requireContiguousFloats(Tensor tensor) {
    ScalarType type = tensor.scalar_type().intern();
    Preconditions.checkArgument(
        type == ScalarType.Float && tensor.is_contiguous(),
        "a %s tensor of type %s, expected a contiguous one of type Float",
        tensor.is_contiguous() ? "contiguous" : "strided",
        type);
  }

  /**
   * Leaves the group. An operation under way in another thread ends by itself, at the latest after
   * the timeout; it cannot be cancelled, and what it needs is freed in the background.
   */
  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    List<Operation> left = List.copyOf(underWay);
    if (left.isEmpty()) {
      free(left);
    } else {
      inBackground(() -> free(left));
    }
    DeviceGroup joined = devices;
    if (joined != null) {
      // After the others have seen that this rank leaves: it may wait until they do.
      inBackground(
          () -> {
            joined.close();
            sumsLeft().forEach(OnDevices::release);
          });
    }
  }

  private synchronized List<OnDevices> sumsLeft() {
    return List.copyOf(sumsOnDevices);
  }

  private static void inBackground(Runnable leaving) {
    Thread thread = new Thread(leaving, "llara-leave-group");
    thread.setDaemon(true);
    thread.start();
  }

  /** A native operation, even a finished one, that is freed after its group corrupts the heap. */
  private void free(List<Operation> left) {
    left.forEach(Operation::end);
    backend.close();
    store.close();
  }

  private synchronized Pending start(String what, Supplier<Work> call) {
    requireUsable();
    try (PointerScope scope = new PointerScope()) {
      Operation operation = new Operation(what, call.get().retainReference());
      underWay.add(operation);
      return operation;
    } catch (RuntimeException e) {
      throw fail(what, e);
    }
  }

  private synchronized void requireUsable() {
    Preconditions.checkState(!closed, "the communicator is closed");
    requireLauncher();
    if (broken != null) {
      throw new DistributedException(broken);
    }
  }

  private synchronized DistributedException fail(String what, RuntimeException error) {
    DistributedException failure = failure(world, timeout, what, error);
    if (broken == null) {
      broken = failure;
    }
    return failure;
  }

  private synchronized void ended(Operation operation) {
    underWay.remove(operation);
  }

  /**
   * Breaks the group if the launcher is gone: orphaned ranks must not go on writing to a place
   * where the next run has begun. An orphan has a new parent.
   */
  private void requireLauncher() {
    long now = System.nanoTime();
    if (broken != null || world.launcher().isEmpty() || now - nextLauncherCheck < 0) {
      return;
    }
    nextLauncherCheck = now + LAUNCHER_CHECK_NANOS;
    long launcher = world.launcher().get().process();
    boolean alive = ProcessHandle.of(launcher).map(ProcessHandle::isAlive).orElse(false);
    if (!alive || !parent.equals(parent())) {
      broken =
          new DistributedException(
              "rank %d of %d: process %d, which started the ranks, has ended"
                  .formatted(rank(), size(), launcher));
    }
  }

  private static Optional<Long> parent() {
    return ProcessHandle.current().parent().map(ProcessHandle::pid);
  }

  /** Returns an exception that explains a message of the native library. */
  static DistributedException failure(
      WorldSettings world, Duration timeout, String what, RuntimeException error) {
    if (error instanceof DistributedException failure) {
      return failure;
    }
    String reason = firstLine(error);
    String lower = reason.toLowerCase(Locale.ROOT);
    String meaning;
    if (List.of("closed by peer", "reset by peer", "broken pipe").stream()
        .anyMatch(lower::contains)) {
      meaning = "another rank has ended";
    } else if (List.of("timed out", "timeout").stream().anyMatch(lower::contains)) {
      meaning = "not every other rank answered within " + timeout.toMillis() / 1000.0 + " s";
    } else {
      meaning = "failed";
    }
    return new DistributedException(
        "rank %d of %d, %s: %s (%s)"
            .formatted(world.rank(), world.worldSize(), what, meaning, reason),
        error);
  }

  /** Native messages go on with a stack trace, and Gloo's begin with a source file. */
  private static String firstLine(RuntimeException error) {
    String message = String.valueOf(error.getMessage());
    return Splitter.on('\n').split(message).iterator().next().replaceFirst("^\\[[^]]*:\\d+] ", "");
  }

  /** Sums of copies, which are put back when they are there. Owns both. */
  private static final class ThroughHost implements Pending {
    private final Pending sums;
    private List<Tensor> tensors;
    private List<Tensor> copies;

    ThroughHost(Pending sums, List<Tensor> tensors, List<Tensor> copies) {
      this.sums = sums;
      this.tensors = tensors;
      this.copies = copies;
    }

    @Override
    public synchronized void await() {
      sums.await();
      try (TensorScope scope = new TensorScope();
          NoGradGuard noGrad = new NoGradGuard()) {
        for (int i = 0; i < tensors.size(); i++) {
          tensors.get(i).copy_(copies.get(i));
        }
      }
      tensors.forEach(Tensor::close);
      copies.forEach(Tensor::close);
      tensors = List.of();
      copies = List.of();
    }
  }

  /** A sum on devices. Keeps the tensors until it is there. */
  private final class OnDevices implements Pending {
    private final DeviceGroup.Sum sum;
    private List<Tensor> tensors;
    private boolean done;
    private @Nullable DistributedException failure;

    OnDevices(List<Tensor> tensors, DeviceGroup.Sum sum) {
      this.sum = sum;
      this.tensors = tensors.stream().map(C10dCommunicator::owned).toList();
    }

    @Override
    public synchronized void await() {
      if (!done) {
        done = true;
        try {
          waitFor();
          release();
        } catch (RuntimeException e) {
          // The device may still write to the tensors; they go with the group.
          failure = fail("a sum on the devices", e);
        }
      }
      if (failure != null) {
        throw failure;
      }
    }

    private void waitFor() {
      long end = System.nanoTime() + timeout.toNanos();
      while (!sum.isDone()) {
        requireUsable();
        if (System.nanoTime() - end > 0) {
          throw new DeviceException("timed out");
        }
        LockSupport.parkNanos(DEVICE_CHECK_NANOS);
      }
    }

    private void release() {
      synchronized (C10dCommunicator.this) {
        if (sumsOnDevices.remove(this)) {
          tensors.forEach(Tensor::close);
          tensors = List.of();
          sum.close();
        }
      }
    }
  }

  private static Tensor owned(Tensor tensor) {
    try (TensorScope scope = new TensorScope()) {
      return scope.own(tensor);
    }
  }

  /** An operation under way; the native object keeps its tensors alive. */
  private final class Operation implements Pending {
    private final String what;
    private final Work work;
    private boolean done;
    private @Nullable DistributedException failure;

    Operation(String what, Work work) {
      this.what = what;
      this.work = work;
    }

    @Override
    public void await() {
      end();
      if (failure != null) {
        throw failure;
      }
    }

    /** Waits for the end, once, and keeps the reason if it failed. */
    synchronized void end() {
      if (!done) {
        try {
          work._wait();
        } catch (RuntimeException e) {
          failure = fail(what, e);
        } finally {
          done = true;
          work.close();
          ended(this);
        }
      }
    }
  }
}
