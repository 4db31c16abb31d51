package io.llara.train.distributed;

import com.google.common.base.Preconditions;
import com.google.common.base.Splitter;
import io.llara.tensor.TensorScope;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Supplier;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.BroadcastOptions;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Work;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A group over any backend of libtorch's c10d. Backends differ in how they are made and in the
 * device of the tensors they take; what is asked of them is the same.
 */
final class C10dCommunicator implements Communicator {
  /** To look whether a process lives takes as long as a small sum. */
  private static final long LOOK_EVERY_NANOS = 200_000_000;

  private final WorldSettings world;
  private final Duration timeout;
  private final Backend backend;

  /** Where the processes met; the backend needs it to stay alive. */
  private final Pointer store;

  private final OptionalLong parent;

  private long nextLook = System.nanoTime();
  private boolean closed;
  private final Set<Operation> underWay = new HashSet<>();
  private @Nullable DistributedException broken;

  private C10dCommunicator(
      WorldSettings world, Duration timeout, Backend backend, Pointer store, OptionalLong parent) {
    this.world = world;
    this.timeout = timeout;
    this.backend = backend;
    this.store = store;
    this.parent = parent;
  }

  /** Takes a backend and its store out of a scope. */
  static C10dCommunicator take(
      PointerScope scope, WorldSettings world, Duration timeout, Backend backend, Pointer store) {
    own(scope, backend);
    own(scope, store);
    OptionalLong parent = world.launcher().isPresent() ? parent() : OptionalLong.empty();
    return new C10dCommunicator(world, timeout, backend, store, parent);
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
  public double[] sum(double... values) {
    if (values.length == 0) {
      return values;
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor tensor =
          torch.empty(new long[] {values.length}, new TensorOptions(ScalarType.Double), null);
      DoublePointer data = tensor.data_ptr_double();
      data.put(values);
      start("a sum", () -> backend.allreduce(new TensorVector(tensor))).await();
      double[] sums = new double[values.length];
      data.get(sums);
      return sums;
    }
  }

  @Override
  public void broadcast(Tensor tensor, int root) {
    Preconditions.checkElementIndex(root, size(), "root");
    Preconditions.checkArgument(tensor.is_contiguous(), "the tensor is not contiguous");
    try (PointerScope scope = new PointerScope()) {
      BroadcastOptions options = new BroadcastOptions().rootRank(root);
      start("a broadcast", () -> backend.broadcast(new TensorVector(tensor), options)).await();
    }
  }

  @Override
  public Tensor allGather(Tensor tensor) {
    requireSummable(tensor);
    Preconditions.checkArgument(tensor.dim() > 0, "a tensor without rows");
    try (TensorScope scope = new TensorScope()) {
      long[] shape = tensor.shape();
      shape[0] = Math.multiplyExact(shape[0], size());
      Tensor all = torch.empty(shape, new TensorOptions(ScalarType.Float), null);
      start("an all-gather", () -> backend._allgather_base(all, tensor)).await();
      return scope.keep(all);
    }
  }

  @Override
  public Pending sumAsync(Tensor tensor) {
    requireSummable(tensor);
    return start("a sum", () -> backend.allreduce(new TensorVector(tensor)));
  }

  static void requireSummable(Tensor tensor) {
    ScalarType type = tensor.scalar_type().intern();
    Preconditions.checkArgument(
        type == ScalarType.Float && tensor.is_contiguous(),
        "a %s tensor of type %s, expected a contiguous one of type Float",
        tensor.is_contiguous() ? "contiguous" : "strided",
        type);
  }

  /**
   * Leaves the group. A call that is under way in another thread ends by itself, at the latest
   * after the timeout; there is no way to break it off, and closing waits for it in the background.
   */
  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    List<Operation> left = List.copyOf(underWay);
    if (left.isEmpty()) {
      free();
    } else {
      Thread thread = new Thread(() -> freeAfter(left), "llara-leave-group");
      thread.setDaemon(true);
      thread.start();
    }
  }

  /** A native operation, even a finished one, that is freed after its group corrupts the heap. */
  private void freeAfter(List<Operation> left) {
    left.forEach(Operation::end);
    free();
  }

  private void free() {
    backend.close();
    store.close();
  }

  private synchronized Pending start(String what, Supplier<Work> call) {
    Preconditions.checkState(!closed, "the communicator is closed");
    requireLauncher();
    if (broken != null) {
      throw new DistributedException(String.valueOf(broken.getMessage()), broken);
    }
    try (PointerScope scope = new PointerScope()) {
      Work work = call.get();
      own(scope, work);
      Operation operation = new Operation(what, work);
      underWay.add(operation);
      return operation;
    } catch (RuntimeException e) {
      throw fail(what, e);
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
   * Processes whose launcher was killed are nobody's any more: they must not go on writing to a
   * place where the next run has begun. Its being gone shows in another process's having become the
   * parent of this one.
   */
  private void requireLauncher() {
    long now = System.nanoTime();
    if (broken != null || world.launcher().isEmpty() || now - nextLook < 0) {
      return;
    }
    nextLook = now + LOOK_EVERY_NANOS;
    long launcher = world.launcher().getAsLong();
    boolean alive = ProcessHandle.of(launcher).map(ProcessHandle::isAlive).orElse(false);
    if (!alive || !parent.equals(parent())) {
      broken =
          new DistributedException(
              "rank %d of %d: process %d, which started the ranks, has ended"
                  .formatted(rank(), size(), launcher));
    }
  }

  private static OptionalLong parent() {
    return ProcessHandle.current()
        .parent()
        .map(process -> OptionalLong.of(process.pid()))
        .orElse(OptionalLong.empty());
  }

  /** Says in our words what a message of the native library means. */
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
      meaning = "not every other rank answered within " + seconds(timeout);
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

  private static String seconds(Duration duration) {
    return duration.toMillis() / 1000.0 + " s";
  }

  private static void own(PointerScope scope, Pointer pointer) {
    pointer.retainReference();
    scope.detach(pointer);
  }

  /** Something under way; the native object keeps the tensors alive. */
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
      DistributedException reason = end();
      if (reason != null) {
        throw reason;
      }
    }

    /** Waits for the end, once, and returns why it failed, or null if it did not. */
    synchronized @Nullable DistributedException end() {
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
      return failure;
    }
  }
}
