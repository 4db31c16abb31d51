package io.llara.train.distributed;

import io.llara.tensor.TensorScope;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** A group of two equal ranks, whose sums end when the test wants. */
final class TwinCommunicator implements Communicator {
  final LinkedBlockingQueue<Long> started = new LinkedBlockingQueue<>();
  volatile CountDownLatch gate = new CountDownLatch(0);
  volatile boolean dead;

  @Override
  public int rank() {
    return 0;
  }

  @Override
  public int size() {
    return 2;
  }

  @Override
  public double[] allReduce(double... values) {
    return Arrays.stream(values).map(value -> 2 * value).toArray();
  }

  @Override
  public Tensor allGather(Tensor tensor) {
    return torch.cat(new TensorVector(tensor, tensor));
  }

  @Override
  public Pending allReduceAsync(List<Tensor> tensors) {
    started.add(tensors.stream().mapToLong(Tensor::numel).sum());
    return () -> {
      try (TensorScope scope = new TensorScope()) {
        gate.await();
        if (dead) {
          throw new DistributedException("the other one is dead");
        }
        tensors.forEach(tensor -> tensor.mul_(new Scalar(2)));
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    };
  }

  @Override
  public void close() {}
}
