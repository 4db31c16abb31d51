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
 * Prompts waiting for a lane.
 *
 * <p>Prompts that come together are cut into batches at once, within the budget of rows and so that
 * the lanes end together: what meets in a batch, and with it the last bits of a result, depends on
 * nothing but the call. Prompts that come one by one meet in a batch as they wait. Each kind leaves
 * in the order it came; where both wait, they take turns, so that a query does not wait for a
 * corpus, nor a corpus for ever. Adding or taking a prompt costs the same however many wait.
 */
final class WorkQueue {

  /**
   * What a lane runs at once.
   *
   * @param single whether it is prompts that came one by one
   * @param alone whether nothing else waits or runs: the batch may use the other lanes' processors
   */
  record Batch(List<Work<?>> work, boolean single, boolean alone) {
    private static final Batch NONE = new Batch(List.of(), false, false);

    boolean isEmpty() {
      return work.isEmpty();
    }
  }

  /**
   * How large batches are.
   *
   * @param share how many rows a lane takes at once
   * @param severalRounds whether the lanes will have drifted apart by the time of the last round
   */
  private record Sizes(long share, boolean severalRounds) {}

  private final ReentrantLock lock = new ReentrantLock();

  /**
   * Lanes that wait, the last to come first: that one works next. The threads that help it are on
   * other processors already, where lanes that take turns meet their helpers on one.
   */
  private final Deque<Condition> idle = new ArrayDeque<>();

  /** Prompts that came one by one, cut when a lane is free. */
  private final Deque<Work<?>> singles = new ArrayDeque<>();

  private final Deque<List<Work<?>>> batches = new ArrayDeque<>();
  private final int lanes;
  private final int budget;

  /** The rows of all single prompts that wait, and how large batches of them are. */
  private long singleRows;

  private Sizes singleSizes = new Sizes(0, false);

  private boolean singlesWereLast;
  private int running;

  /** Lanes that are about to take what is next. */
  private int coming;

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
    List<List<Work<?>>> cut = new ArrayList<>();
    Deque<Work<?>> left = new ArrayDeque<>(work);
    long rows = rows(work);
    Sizes sizes = sizes(rows);
    while (!left.isEmpty()) {
      List<Work<?>> batch = cut(left, rows, sizes);
      rows -= rows(batch);
      cut.add(batch);
    }
    lock.lock();
    try {
      requireOpen();
      batches.addAll(cut);
      idle.forEach(Condition::signal);
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
      singles.add(work);
      singleRows += work.rows();
      singleSizes = sizes(singleRows);
      if (singles.size() > coming && !idle.isEmpty()) {
        idle.pop().signal();
      }
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
      coming = Math.max(0, coming - 1);
      while (!closed) {
        Batch batch = singlesWereLast ? pollBatch() : pollSingles();
        if (batch.isEmpty()) {
          batch = singlesWereLast ? pollSingles() : pollBatch();
        }
        if (!batch.isEmpty()) {
          singlesWereLast = batch.single();
          running++;
          return batch;
        }
        // Lanes are ours: nobody interrupts them, and close() signals.
        Condition work = lock.newCondition();
        idle.push(work);
        work.awaitUninterruptibly();
        idle.remove(work);
      }
      return Batch.NONE;
    } finally {
      lock.unlock();
    }
  }

  /** Takes prompts that came one by one, as {@link #take}, but does not wait if there are none. */
  Batch takeSingles() {
    lock.lock();
    try {
      Batch batch = pollSingles();
      if (!batch.isEmpty()) {
        running++;
      }
      return batch;
    } finally {
      lock.unlock();
    }
  }

  /**
   * Counts a batch as run, before anybody learns of its results: whoever asks for more then shall
   * find the lane free.
   *
   * @param coming whether {@link #take} is what this lane does next, so that no other is woken for
   *     one more prompt
   */
  void done(boolean coming) {
    lock.lock();
    try {
      running--;
      this.coming += coming ? 1 : 0;
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
      left.addAll(singles);
      singles.clear();
      batches.forEach(left::addAll);
      batches.clear();
      idle.forEach(Condition::signal);
    } finally {
      lock.unlock();
    }
    left.forEach(work -> work.completeExceptionally(closedError()));
  }

  /** Takes the next of the single prompts that somebody still waits for; empty if there is none. */
  private Batch pollSingles() {
    while (!singles.isEmpty()) {
      List<Work<?>> batch = cut(singles, singleRows, singleSizes);
      singleRows -= rows(batch);
      batch.removeIf(Work::isDone);
      if (!batch.isEmpty()) {
        boolean nothingElse = singles.isEmpty() && batches.isEmpty() && running == 0;
        return new Batch(batch, true, nothingElse && batch.size() == 1);
      }
    }
    return Batch.NONE;
  }

  /** Takes the next batch without what nobody waits for any more; empty if there is none. */
  private Batch pollBatch() {
    while (!batches.isEmpty()) {
      List<Work<?>> batch = new ArrayList<>(batches.remove());
      batch.removeIf(Work::isDone);
      if (!batch.isEmpty()) {
        return new Batch(batch, false, false);
      }
    }
    return Batch.NONE;
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
