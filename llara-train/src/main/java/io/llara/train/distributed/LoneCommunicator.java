package io.llara.train.distributed;

import com.google.common.base.Preconditions;
import org.bytedeco.pytorch.Tensor;

/** A group of one: every sum is there already. */
final class LoneCommunicator implements Communicator {
  private volatile boolean closed;

  @Override
  public int rank() {
    return 0;
  }

  @Override
  public int size() {
    return 1;
  }

  @Override
  public double[] sum(double... values) {
    requireOpen();
    return values.clone();
  }

  @Override
  public void broadcast(Tensor tensor, int root) {
    requireOpen();
    Preconditions.checkArgument(root == 0, "root %s in a group of one", root);
  }

  @Override
  public Tensor allGather(Tensor tensor) {
    requireOpen();
    C10dCommunicator.requireSummable(tensor);
    return new Tensor(tensor);
  }

  @Override
  public Pending sumAsync(Tensor tensor) {
    requireOpen();
    C10dCommunicator.requireSummable(tensor);
    return () -> {};
  }

  @Override
  public void close() {
    closed = true;
  }

  private void requireOpen() {
    Preconditions.checkState(!closed, "the communicator is closed");
  }
}
