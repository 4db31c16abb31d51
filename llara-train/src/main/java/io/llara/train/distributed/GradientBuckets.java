package io.llara.train.distributed;

import com.google.common.base.Preconditions;
import com.google.common.base.Verify;
import com.google.common.primitives.Ints;
import io.llara.Internal;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * Sums gradients over the ranks while the backward pass is still making others.
 *
 * <p>Neighbouring parameters share a bucket, a bucket goes through the network as one piece. The
 * buckets go in one order on every rank, whatever the order in which the lanes finish: from the
 * last parameter to the first, as backward comes upon them (a tied embedding matrix, which is final
 * last, is the first parameter). What is ready earlier than its turn waits.
 *
 * <pre>{@code
 * buckets.ready(i, gradient);   // once for each parameter, from any thread, in any order
 * buckets.finish();             // now every gradient is the sum over the ranks
 * }</pre>
 *
 * <p>From the first {@code ready} of a round until {@code finish} returns, the communicator and the
 * gradients belong to this object. Thread-safe. A group of one costs nothing.
 */
@Internal
public final class GradientBuckets implements AutoCloseable {
  private final Communicator communicator;
  private final long[] elements;
  private final List<Bucket> buckets;
  private final int[] bucketOf;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();

  /** Handles of our own on the gradients that are ready, until they are summed. */
  private final @Nullable Tensor[] waiting;

  private final boolean[] ready;

  /** How many gradients of each bucket are not ready. */
  private final int[] missing;

  private final @Nullable Thread thread;

  /** The bucket whose turn it is. */
  private int turn;

  private int summed;
  private boolean closed;
  private @Nullable RuntimeException failure;

  /**
   * Parameters that are summed together.
   *
   * @param parameters from the last to the first
   */
  private record Bucket(int[] parameters) {}

  /** A bucket that is on its way. */
  private record Departed(Bucket bucket, Tensor flat, Communicator.Pending sum) {}

  /**
   * Lays out the buckets, the same on every rank.
   *
   * @param elements how many numbers each parameter has
   * @param bucketBytes how large a bucket may become, in bytes; a larger parameter has one of its
   *     own. Only parameters that share a bucket are copied
   */
  public GradientBuckets(Communicator communicator, long[] elements, long bucketBytes) {
    Preconditions.checkArgument(bucketBytes > 0, "bucketBytes %s", bucketBytes);
    for (long count : elements) {
      Preconditions.checkArgument(count > 0, "a parameter of %s numbers", count);
    }
    this.communicator = communicator;
    this.elements = elements.clone();
    buckets = layOut(elements, bucketBytes);
    bucketOf = new int[elements.length];
    for (int i = 0; i < buckets.size(); i++) {
      for (int parameter : buckets.get(i).parameters()) {
        bucketOf[parameter] = i;
      }
    }
    waiting = new Tensor[elements.length];
    ready = new boolean[elements.length];
    missing = new int[buckets.size()];
    startRound();
    thread = communicator.size() > 1 ? new Thread(this::work, "llara-gradients") : null;
    if (thread != null) {
      thread.setDaemon(true);
      thread.start();
    }
  }

  private static List<Bucket> layOut(long[] elements, long bucketBytes) {
    List<Bucket> buckets = new ArrayList<>();
    List<Integer> current = new ArrayList<>();
    long bytes = 0;
    for (int i = elements.length - 1; i >= 0; i--) {
      long size = elements[i] * Float.BYTES;
      if (!current.isEmpty() && bytes + size > bucketBytes) {
        buckets.add(new Bucket(Ints.toArray(current)));
        current.clear();
        bytes = 0;
      }
      current.add(i);
      bytes += size;
    }
    if (!current.isEmpty()) {
      buckets.add(new Bucket(Ints.toArray(current)));
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
   * @throws IllegalStateException if the parameter was ready before in this round
   * @throws DistributedException if a sum of this round has failed
   */
  public void ready(int parameter, Tensor gradient) {
    Preconditions.checkElementIndex(parameter, elements.length, "parameter");
    C10dCommunicator.requireSummable(gradient);
    Preconditions.checkArgument(
        gradient.numel() == elements[parameter],
        "parameter %s: a gradient of %s numbers, expected %s",
        parameter,
        gradient.numel(),
        elements[parameter]);
    lock.lock();
    try {
      requireSound();
      Preconditions.checkState(!ready[parameter], "parameter %s is ready already", parameter);
      ready[parameter] = true;
      if (thread != null) {
        try (TensorScope scope = new TensorScope()) {
          waiting[parameter] = scope.own(gradient);
        }
      }
      missing[bucketOf[parameter]]--;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Waits until all gradients are summed and begins a new round.
   *
   * @throws IllegalStateException if a parameter is not ready: the other ranks wait for it, so this
   *     round cannot be mended
   * @throws DistributedException if another rank has ended or does not answer in time
   */
  public void finish() {
    lock.lock();
    try {
      requireSound();
      int[] absent = IntStream.range(0, ready.length).filter(i -> !ready[i]).toArray();
      if (absent.length > 0) {
        fail(
            new IllegalStateException(
                "no gradient of parameters " + Ints.join(", ", absent) + " is ready"));
      }
      while (thread != null && summed < buckets.size() && failure == null && !closed) {
        // An interrupt asks the run to stop after this step; the other ranks are in it, too.
        changed.awaitUninterruptibly();
      }
      requireSound();
      startRound();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Lets go of the gradients and ends the thread. Does not wait for sums that are under way: they
   * hold what they need until they end.
   */
  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  private void startRound() {
    turn = 0;
    summed = 0;
    for (int i = 0; i < missing.length; i++) {
      missing[i] = buckets.get(i).parameters().length;
    }
    Arrays.fill(ready, false);
  }

  private void requireSound() {
    Preconditions.checkState(!closed, "the gradient buckets are closed");
    if (failure instanceof DistributedException) {
      throw new DistributedException(String.valueOf(failure.getMessage()), failure);
    } else if (failure != null) {
      throw new IllegalStateException(
          "an earlier round has failed: " + failure.getMessage(), failure);
    }
  }

  private void fail(RuntimeException error) {
    lock.lock();
    try {
      if (failure == null) {
        failure = error;
      }
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  private void work() {
    Departed departed = null;
    try {
      while (true) {
        // The next bucket is put together while the one before is on its way.
        Bucket bucket = take(departed == null);
        Departed next = bucket == null ? null : depart(bucket);
        if (departed != null) {
          Departed last = departed;
          departed = next;
          arrive(last);
        } else if (next == null) {
          return;
        } else {
          departed = next;
        }
      }
    } catch (RuntimeException e) {
      fail(e);
    } catch (Error e) {
      fail(new DistributedException("summing gradients failed: " + e, e));
      throw e;
    } finally {
      if (departed != null) {
        abandon(departed);
      }
      releaseAll();
    }
  }

  /**
   * Returns the next bucket in turn; null if it is not complete and nobody wants to wait, or if
   * this object is done for.
   */
  private @Nullable Bucket take(boolean wait) {
    lock.lock();
    try {
      while (!closed && failure == null) {
        if (turn < buckets.size() && missing[turn] == 0) {
          return buckets.get(turn++);
        }
        if (!wait) {
          return null;
        }
        changed.awaitUninterruptibly();
      }
      return null;
    } finally {
      lock.unlock();
    }
  }

  private Departed depart(Bucket bucket) {
    Tensor flat;
    try (TensorScope scope = new TensorScope()) {
      int[] parameters = bucket.parameters();
      if (parameters.length == 1) {
        flat = scope.own(gradient(parameters[0]));
      } else {
        TensorVector parts = new TensorVector();
        for (int parameter : parameters) {
          parts.push_back(gradient(parameter).view(-1));
        }
        flat = scope.own(torch.cat(parts));
      }
    }
    try {
      return new Departed(bucket, flat, communicator.sumAsync(flat));
    } catch (RuntimeException e) {
      flat.close();
      throw e;
    }
  }

  private void arrive(Departed departed) {
    int[] parameters = departed.bucket().parameters();
    try (TensorScope scope = new TensorScope()) {
      departed.sum().await();
      if (parameters.length > 1) {
        Tensor flat = departed.flat();
        long offset = 0;
        for (int parameter : parameters) {
          Tensor gradient = gradient(parameter).view(-1);
          gradient.copy_(flat.narrow(0, offset, elements[parameter]));
          offset += elements[parameter];
        }
      }
    } finally {
      departed.flat().close();
    }
    lock.lock();
    try {
      for (int parameter : parameters) {
        release(parameter);
      }
      summed++;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  private static void abandon(Departed departed) {
    try {
      departed.sum().await();
    } catch (DistributedException e) {
      // The round has failed already, and whoever waits for it knows why.
    } finally {
      departed.flat().close();
    }
  }

  private Tensor gradient(int parameter) {
    lock.lock();
    try {
      return Verify.verifyNotNull(waiting[parameter]);
    } finally {
      lock.unlock();
    }
  }

  private void releaseAll() {
    lock.lock();
    try {
      for (int i = 0; i < waiting.length; i++) {
        release(i);
      }
    } finally {
      lock.unlock();
    }
  }

  private void release(int parameter) {
    Tensor tensor = waiting[parameter];
    if (tensor != null) {
      tensor.close();
      waiting[parameter] = null;
    }
  }
}
