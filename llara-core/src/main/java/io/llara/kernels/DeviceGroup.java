package io.llara.kernels;

import io.llara.DeviceException;
import io.llara.Internal;
import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * Devices of several processes, one of each, that sum tensors among themselves. All processes make
 * the same calls in the same order. Thread-safe.
 */
@Internal
public interface DeviceGroup extends AutoCloseable {

  /** How processes find each other. */
  interface Meeting {
    /** How many bytes an invitation has. */
    int INVITATION_BYTES = 128;

    /**
     * Makes what all processes are to be told, on one of them.
     *
     * @throws DeviceException if this device cannot meet others
     */
    byte[] invite();

    /**
     * Joins the group and waits until it is complete.
     *
     * @param invitation what {@link #invite} made on one process
     * @param rank the number of this process, from 0
     * @param size the number of processes, each with a device of its own
     * @throws DeviceException if that fails
     */
    DeviceGroup join(byte[] invitation, int rank, int size);
  }

  /** A sum under way. */
  interface Sum extends AutoCloseable {
    /**
     * Returns whether it is there.
     *
     * @throws DeviceException if it will never be, as when another process has ended
     */
    boolean isDone();

    @Override
    void close();
  }

  /**
   * Begins to replace tensors by their sums over the processes, after all that libtorch was told to
   * do on the device before, and before all that it is told after. Memory is the caller's and has
   * to stay until the sum is there.
   *
   * @param tensors float32, contiguous, on the device
   */
  Sum sum(List<Tensor> tensors);

  /**
   * Leaves the group and gives up what is under way. May wait for processes that are on their way
   * out, too.
   */
  @Override
  void close();
}
