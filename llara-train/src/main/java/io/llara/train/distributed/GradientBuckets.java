package io.llara.train.distributed;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Preconditions;
import io.llara.Internal;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Sums gradients over the ranks while the backward pass is still making others.
 *
 * <p>Neighbouring parameters share a bucket, a bucket goes through the network as one message. The
 * buckets go in one order on every rank, whatever the order in which the lanes finish: from the
 * last parameter to the first, as backward comes upon them (a tied embedding matrix, which is final
 * last, is the first parameter). What is ready earlier than its turn waits.
 *
 * <pre>{@code
 * buckets.ready(i, gradient);   // once for each parameter, from any thread, in any order
 * buckets.finish();             // now every gradient is the sum over the ranks
 * }</pre>
 *
 * <p>From the first {@code ready} of a step until {@code finish} returns, the communicator and the
 * gradients belong to this object. Thread-safe.
 */
@Internal
public final class GradientBuckets implements AutoCloseable {
  private final Communicator communicator;
  private final long[] elements;

  /** The parameters of each bucket, in the order of the all-reduces. */
  private final List<List<Integer>> buckets;

  /** Handles of our own on the gradients that are ready. Guarded by this, as all that follows. */
  private final @Nullable Tensor[] gradients;

  /** The all-reduces of this step, one for each bucket that was complete when its turn came. */
  private final List<Communicator.Pending> sums = new ArrayList<>();

  private boolean closed;
  private @Nullable DistributedException failure;

  /**
   * Lays out the buckets, the same on every rank.
   *
   * @param elements the number of elements of each parameter
   * @param bucketBytes how large a bucket may become, in bytes; a larger parameter has one of its
   *     own. Only parameters that share a bucket are copied
   */
  public GradientBuckets(Communicator communicator, long[] elements, long bucketBytes) {
    Preconditions.checkArgument(bucketBytes > 0, "bucketBytes %s", bucketBytes);
    for (long count : elements) {
      Preconditions.checkArgument(count > 0, "a parameter of %s elements", count);
    }
    this.communicator = communicator;
    this.elements = elements.clone();
    this.buckets = layOut(elements, bucketBytes);
    this.gradients = new Tensor[elements.length];
  }

  private static List<List<Integer>> layOut(long[] elements, long bucketBytes) {
    List<List<Integer>> buckets = new ArrayList<>();
    long bytes = 0;
    for (int i = elements.length - 1; i >= 0; i--) {
      long size = elements[i] * Float.BYTES;
      if (buckets.isEmpty() || bytes + size > bucketBytes) {
        buckets.add(new ArrayList<>());
        bytes = 0;
      }
      buckets.get(buckets.size() - 1).add(i);
      bytes += size;
    }
    return buckets;
  }

  /** Returns how many buckets there are. */
  public int count() {
    return buckets.size();
  }

  /**
   * Hands over a gradient that is final on this rank. It is summed in place by the time {@link
   * #finish} returns and not to be touched until then; the caller may close its handle.
   *
   * @param gradient float32, contiguous
   * @throws IllegalStateException if the parameter was ready before in this step
   * @throws DistributedException if an all-reduce of this step has failed
   */
  public synchronized void ready(int parameter, Tensor gradient) {
    Preconditions.checkElementIndex(parameter, elements.length, "parameter");
    C10dCommunicator.requireContiguousFloats(gradient);
    Preconditions.checkArgument(
        gradient.numel() == elements[parameter],
        "parameter %s: a gradient of %s elements, expected %s",
        parameter,
        gradient.numel(),
        elements[parameter]);
    requireUsable();
    Preconditions.checkState(
        gradients[parameter] == null, "parameter %s is ready already", parameter);
    try (TensorScope scope = new TensorScope()) {
      gradients[parameter] = scope.own(gradient);
    }
    // The buckets after this one's may have been complete before their turn.
    for (int next = sums.size(); next < buckets.size() && isReady(buckets.get(next)); next++) {
      start(buckets.get(next));
    }
  }

  private boolean isReady(List<Integer> bucket) {
    return bucket.stream().allMatch(parameter -> gradients[parameter] != null);
  }

  private void start(List<Integer> bucket) {
    try {
      sums.add(
          communicator.allReduceAsync(
              bucket.stream().map(parameter -> requireNonNull(gradients[parameter])).toList()));
    } catch (DistributedException e) {
      failure = e;
      throw e;
    }
  }

  /**
   * Waits until all gradients are summed; the next step may begin. An interrupt does not end the
   * wait: the other ranks are in this step, too.
   *
   * @throws IllegalStateException if a parameter is not ready; the other ranks wait for it
   * @throws DistributedException if another rank has ended or does not answer in time
   */
  public synchronized void finish() {
    requireUsable();
    String missing =
        IntStream.range(0, gradients.length)
            .filter(i -> gradients[i] == null)
            .mapToObj(Integer::toString)
            .collect(Collectors.joining(", "));
    Preconditions.checkState(missing.isEmpty(), "no gradient of parameters %s is ready", missing);
    try {
      sums.forEach(Communicator.Pending::await);
    } catch (DistributedException e) {
      failure = e;
      throw e;
    }
    release();
  }

  /**
   * Lets go of the gradients. Does not wait for all-reduces under way: they hold what they need
   * until they end.
   */
  @Override
  public synchronized void close() {
    closed = true;
    release();
  }

  private void release() {
    sums.clear();
    for (int i = 0; i < gradients.length; i++) {
      Tensor gradient = gradients[i];
      if (gradient != null) {
        gradient.close();
        gradients[i] = null;
      }
    }
  }

  private void requireUsable() {
    Preconditions.checkState(!closed, "the gradient buckets are closed");
    if (failure != null) {
      throw new DistributedException(failure);
    }
  }
}
