package io.llara.train.distributed;

import io.llara.Internal;
import java.time.Duration;
import org.bytedeco.pytorch.Tensor;

/**
 * What the processes of a group do together. Every rank makes the same calls in the same order with
 * tensors of the same shape; a rank that does otherwise makes all of them fail or wait.
 *
 * <p>Results are the same bits on every rank, so ranks that hold the same weights keep doing so.
 *
 * <p>Calls may come from any thread, one after the other. When one has failed, all later ones do:
 * the group is broken. {@link #close} then breaks it for the ranks that have not noticed yet.
 */
@Internal
public interface Communicator extends AutoCloseable {

  /** The number of this process, from 0. */
  int rank();

  /** The number of processes. */
  int size();

  /**
   * Replaces a tensor by its sum over the ranks.
   *
   * @param tensor float32, contiguous
   * @throws DistributedException if another rank has ended or does not answer in time
   */
  default void sum(Tensor tensor) {
    sumAsync(tensor).await();
  }

  /**
   * Returns the sums over the ranks, in float64.
   *
   * @throws DistributedException if another rank has ended or does not answer in time
   */
  double[] sum(double... values);

  /**
   * Replaces a tensor by that of one rank.
   *
   * @param tensor of any number type, contiguous
   * @throws DistributedException if another rank has ended or does not answer in time
   */
  void broadcast(Tensor tensor, int root);

  /**
   * Returns the tensors of all ranks, one after another by rank.
   *
   * @param tensor float32, contiguous, {@code [rows, …]}
   * @return {@code [size · rows, …]}, in the caller's innermost scope; in a group of one it is the
   *     tensor itself
   * @throws DistributedException if another rank has ended or does not answer in time
   */
  Tensor allGather(Tensor tensor);

  /**
   * Returns whether it is true on at least one rank.
   *
   * @throws DistributedException if another rank has ended or does not answer in time
   */
  default boolean any(boolean mine) {
    return sum(mine ? 1 : 0)[0] > 0;
  }

  /**
   * Waits until every rank has come here.
   *
   * @throws DistributedException if another rank has ended or does not answer in time
   */
  default void barrier() {
    sum(0);
  }

  /**
   * Starts to replace a tensor by its sum over the ranks. The tensor is not to be touched before
   * {@link Pending#await} has returned; its memory is held until then.
   *
   * @param tensor float32, contiguous
   */
  Pending sumAsync(Tensor tensor);

  /** Leaves the group. Does not wait for the other ranks. Closing twice is harmless. */
  @Override
  void close();

  /** A sum that is under way. Not awaiting it holds its memory. */
  interface Pending {
    /**
     * Waits until the sum is there. Further calls return at once.
     *
     * @throws DistributedException if another rank has ended or does not answer in time
     */
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
