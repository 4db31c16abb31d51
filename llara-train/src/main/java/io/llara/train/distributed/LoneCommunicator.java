package io.llara.train.distributed;

import com.google.common.base.Preconditions;
import java.util.List;
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
  public double[] allReduce(double... values) {
    requireOpen();
    return values.clone();
  }

  @Override
  public Pending allReduceAsync(List<Tensor> tensors) {
    requireOpen();
    tensors.forEach(C10dCommunicator::requireContiguousFloats);
    return () -> {};
  }

  @Override
  public Tensor allGather(Tensor tensor) {
    requireOpen();
    C10dCommunicator.requireContiguousFloats(tensor);
    return new Tensor(tensor);
  }

  @Override
  public void close() {
    closed = true;
  }

  private void requireOpen() {
    Preconditions.checkState(!closed, "the communicator is closed");
  }
}
