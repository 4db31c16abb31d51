package io.llara.train.distributed;

import io.llara.Internal;
import io.llara.kernels.Accelerator;
import java.time.Duration;
import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * The collective operations of a process group. Every rank makes the same calls in the same order
 * with tensors of the same shapes; a rank that does otherwise makes all of them fail or wait.
 *
 * <p>Results are the same bits on every rank, so ranks that hold the same weights keep doing so.
 *
 * <p>Calls may come from any thread, one after the other. When one has failed, all later ones do:
 * the group is broken. {@link #close} then breaks it for the ranks that have not noticed yet.
 *
 * <p>Every operation throws a {@link DistributedException} if another rank has ended or does not
 * answer in time.
 */
@Internal
public interface Communicator extends AutoCloseable {

  /** Returns the number of this process, from 0. */
  int rank();

  /** Returns the number of processes. */
  int size();

  /**
   * Replaces a tensor by its sum over the ranks.
   *
   * @param tensor float32, contiguous
   */
  default void allReduce(Tensor tensor) {
    allReduceAsync(List.of(tensor)).await();
  }

  /** Returns the sums over the ranks, in float64. */
  double[] allReduce(double... values);

  /**
   * Starts to replace tensors by their sums over the ranks, in one message. They are not to be
   * touched before {@link Pending#await} has returned; their memory is held until then.
   *
   * @param tensors float32, contiguous
   */
  Pending allReduceAsync(List<Tensor> tensors);

  /**
   * Returns the tensors of all ranks, one after another by rank.
   *
   * @param tensor float32, contiguous, {@code [rows, …]}
   * @return {@code [size · rows, …]}, in the caller's innermost scope; in a group of one it is the
   *     tensor itself
   */
  Tensor allGather(Tensor tensor);

  /** Returns whether it is true on at least one rank. */
  default boolean any(boolean mine) {
    return allReduce(mine ? 1 : 0)[0] > 0;
  }

  /** Waits until every rank has come here. */
  default void barrier() {
    allReduce(0);
  }

  /**
   * Has the ranks' devices sum what lies on them among themselves from now on, where they can.
   *
   * @param device that of this rank; all of one kind, none that of two ranks
   */
  default void joinDevices(Accelerator device) {}

  /** Leaves the group. Does not wait for the other ranks. Closing twice is harmless. */
  @Override
  void close();

  /** An operation under way. */
  interface Pending {
    /** Waits until it is complete. Further calls return at once, or throw the same failure. */
    void await();
  }

  /** Returns a group of one. */
  static Communicator alone() {
    return new LoneCommunicator();
  }

  /**
   * Joins a group over TCP, on CPU tensors, and waits until it is complete.
   *
   * @param timeout how long a rank waits for the others, here and in every later call: longer than
   *     they may be apart, for instance while rank 0 writes a checkpoint. That a process has ended
   *     shows at once and does not take as long
   * @throws DistributedException if the group is not complete in time
   */
  static Communicator gloo(WorldSettings world, Duration timeout) {
    if (timeout.toMillis() < 1) {
      throw new IllegalArgumentException("timeout " + timeout + ", expected at least 1 ms");
    }
    return world.worldSize() == 1 ? alone() : GlooGroup.join(world, timeout, timeout);
  }
}
