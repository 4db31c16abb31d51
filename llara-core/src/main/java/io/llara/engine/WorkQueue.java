package io.llara.engine;

import com.google.common.math.LongMath;
import java.math.RoundingMode;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Prompts waiting for a lane, in the order they came.
 *
 * <p>Prompts that come together are cut into batches at once, within the budget of rows and so that
 * the lanes end together: what meets in a batch, and with it the last bits of a result, depends on
 * nothing but the call. Prompts that come one by one meet in a batch as they wait. Adding or taking
 * a prompt costs the same however many wait.
 */
final class WorkQueue {

  /**
   * What a lane runs at once.
   *
   * @param alone whether nothing else waits or runs: the batch may use the other lanes' processors
   */
  record Batch(List<Work<?>> work, boolean alone) {}

  /**
   * What waits together.
   *
   * @param single whether it is prompts that came one by one, to be cut when a lane is free; else
   *     it is a batch
   */
  private record Group(Deque<Work<?>> work, boolean single) {}

  /**
   * How large batches are.
   *
   * @param share how many rows a lane takes at once
   * @param severalRounds whether the lanes will have drifted apart by the time of the last round
   */
  private record Sizes(long share, boolean severalRounds) {}

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition notEmpty = lock.newCondition();
  private final Deque<Group> waiting = new ArrayDeque<>();
  private final int lanes;
  private final int budget;

  /** The rows of all single prompts that wait, and how large batches of them are. */
  private long singleRows;

  private Sizes singleSizes = new Sizes(0, false);
  private int running;
  private volatile boolean closed;

  WorkQueue(int lanes, int budget) {
    this.lanes = lanes;
    this.budget = budget;
  }

  int lanes() {
    return lanes;
  }

  boolean isClosed() {
    return closed;
  }

  void requireOpen() {
    if (closed) {
      throw closedError();
    }
  }

  static IllegalStateException closedError() {
    return new IllegalStateException("the encoder is closed");
  }

  /**
   * Adds prompts that run in batches of their own.
   *
   * @throws IllegalStateException if the queue is closed
   */
  void add(List<Work<?>> work) {
    List<Group> batches = new ArrayList<>();
    Deque<Work<?>> left = new ArrayDeque<>(work);
    long rows = rows(work);
    Sizes sizes = sizes(rows);
    while (!left.isEmpty()) {
      List<Work<?>> batch = cut(left, rows, sizes);
      rows -= rows(batch);
      batches.add(new Group(new ArrayDeque<>(batch), false));
    }
    lock.lock();
    try {
      requireOpen();
      waiting.addAll(batches);
      notEmpty.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Adds a prompt that may meet others in a batch.
   *
   * @throws IllegalStateException if the queue is closed
   */
  void addSingle(Work<?> work) {
    lock.lock();
    try {
      requireOpen();
      Group last = waiting.peekLast();
      if (last == null || !last.single()) {
        last = new Group(new ArrayDeque<>(), true);
        waiting.add(last);
      }
      last.work().add(work);
      singleRows += work.rows();
      singleSizes = sizes(singleRows);
      notEmpty.signal();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Waits for work; returns an empty batch once the queue is closed. Whoever took a batch calls
   * {@link #done} after it.
   */
  Batch take() {
    lock.lock();
    try {
      while (!closed) {
        Batch batch = poll();
        if (!batch.work().isEmpty()) {
          running++;
          return batch;
        }
        // Lanes are ours: nobody interrupts them, and close() signals.
        notEmpty.awaitUninterruptibly();
      }
      return new Batch(List.of(), false);
    } finally {
      lock.unlock();
    }
  }

  void done() {
    lock.lock();
    try {
      running--;
    } finally {
      lock.unlock();
    }
  }

  /** Closes the queue and ends what still waits. */
  void close() {
    List<Work<?>> left = new ArrayList<>();
    lock.lock();
    try {
      closed = true;
      waiting.forEach(group -> left.addAll(group.work()));
      waiting.clear();
      notEmpty.signalAll();
    } finally {
      lock.unlock();
    }
    left.forEach(work -> work.completeExceptionally(closedError()));
  }

  /** Takes the next batch without what nobody waits for any more; empty if there is none. */
  private Batch poll() {
    while (!waiting.isEmpty()) {
      Group group = waiting.element();
      List<Work<?>> batch;
      if (group.single()) {
        batch = cut(group.work(), singleRows, singleSizes);
        singleRows -= rows(batch);
      } else {
        batch = new ArrayList<>(group.work());
      }
      if (!group.single() || group.work().isEmpty()) {
        waiting.remove();
      }
      batch.removeIf(Work::isDone);
      if (!batch.isEmpty()) {
        boolean alone = group.single() && batch.size() == 1 && waiting.isEmpty() && running == 0;
        return new Batch(batch, alone);
      }
    }
    return new Batch(List.of(), false);
  }

  private static long rows(List<Work<?>> work) {
    return work.stream().mapToLong(Work::rows).sum();
  }

  /** Batches of one size, as many for each lane, so that the lanes end together. */
  private Sizes sizes(long rows) {
    long perLane = LongMath.divide(rows, lanes, RoundingMode.CEILING);
    long rounds = LongMath.divide(perLane, budget, RoundingMode.CEILING);
    long share = LongMath.divide(perLane, Math.max(1, rounds), RoundingMode.CEILING);
    return new Sizes(share, rounds > 2);
  }

  /** Takes the next batch from {@code left}, which has {@code rowsLeft} rows. */
  private List<Work<?>> cut(Deque<Work<?>> left, long rowsLeft, Sizes sizes) {
    // After several rounds the lanes do not stand side by side any more: half batches at the end
    // halve the time that the first to finish waits for the last.
    boolean end = sizes.severalRounds() && rowsLeft <= lanes * sizes.share();
    long wanted = end ? sizes.share() / 2 : sizes.share();
    List<Work<?>> batch = new ArrayList<>();
    long rows = 0;
    while (!left.isEmpty()) {
      int next = left.element().rows();
      // Half of a prompt over the share is as good as half under it.
      if (rows > 0 && (rows + next / 2 > wanted || rows + next > budget)) {
        break;
      }
      batch.add(left.remove());
      rows += next;
    }
    return batch;
  }
}
