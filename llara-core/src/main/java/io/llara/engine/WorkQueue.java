package io.llara.engine;

import com.google.common.math.LongMath;
import io.llara.prompt.Prompt;
import java.math.RoundingMode;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;

/**
 * Prompts waiting for a lane, in the order they came.
 *
 * <p>Prompts that come together are cut into batches at once, within the budget of rows and so that
 * the lanes end together: what meets in a batch, and with it the last bits of a result, depends on
 * nothing but the call. Prompts that come one by one meet in a batch as they wait.
 */
final class WorkQueue {

  /**
   * A prompt and the slot its result goes to.
   *
   * @param allRows whether all hidden states are wanted instead of the pooled ones
   */
  record Work(Prompt prompt, boolean allRows, Sink sink) {
    int rows() {
      return prompt.length();
    }
  }

  /** Where the result of one prompt goes. */
  interface Sink {
    /**
     * Takes the hidden states, {@code [rows, hidden]} row-major: all, or those pooled for SELF,
     * then for NEXT.
     */
    void accept(float[] rows);

    /** Ends the call the prompt belongs to. */
    void fail(RuntimeException error);

    /** Returns whether nobody waits for the result. */
    boolean abandoned();
  }

  /**
   * What a lane runs at once.
   *
   * @param alone whether nothing else waits or runs: the batch may use the other lanes' processors
   */
  record Batch(List<Work> work, boolean alone) {}

  /**
   * What waits together.
   *
   * @param single whether it is one prompt that may meet others
   */
  private record Group(List<Work> work, boolean single) {}

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition notEmpty = lock.newCondition();
  private final Deque<Group> waiting = new ArrayDeque<>();
  private final int lanes;
  private final int budget;

  /** How large the batches of the single prompts are that wait. */
  private Sizes singleSizes = new Sizes(0, false);

  private int running;
  private volatile boolean closed;

  WorkQueue(int lanes, int budget) {
    this.lanes = lanes;
    this.budget = budget;
  }

  boolean isClosed() {
    return closed;
  }

  /** Adds prompts that run in batches of their own, or returns false if the queue is closed. */
  boolean add(List<Work> work) {
    List<Group> batches = new ArrayList<>();
    Deque<Work> left = new ArrayDeque<>(work);
    Sizes sizes = sizes(rows(work.stream()));
    while (!left.isEmpty()) {
      batches.add(new Group(cut(left, sizes), false));
    }
    return enqueue(batches);
  }

  /** Adds a prompt that may meet others in a batch, or returns false if the queue is closed. */
  boolean addSingle(Work work) {
    lock.lock();
    try {
      boolean added = enqueue(List.of(new Group(List.of(work), true)));
      Stream<Group> singles = waiting.stream().filter(Group::single);
      singleSizes = sizes(rows(singles.flatMap(group -> group.work().stream())));
      return added;
    } finally {
      lock.unlock();
    }
  }

  private boolean enqueue(List<Group> groups) {
    lock.lock();
    try {
      if (closed) {
        return false;
      }
      waiting.addAll(groups);
      notEmpty.signalAll();
      return true;
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
      while (true) {
        dropAbandoned();
        if (closed) {
          return new Batch(List.of(), false);
        }
        if (!waiting.isEmpty()) {
          boolean single = waiting.element().single();
          List<Work> batch = single ? pollSingles() : waiting.remove().work();
          boolean alone = single && batch.size() == 1 && waiting.isEmpty() && running == 0;
          running++;
          return new Batch(batch, alone);
        }
        // Lanes are ours: nobody interrupts them, and close() signals.
        notEmpty.awaitUninterruptibly();
      }
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

  /** Closes the queue and returns what was still waiting. */
  List<Work> close() {
    lock.lock();
    try {
      closed = true;
      List<Work> left = waiting.stream().flatMap(group -> group.work().stream()).toList();
      waiting.clear();
      notEmpty.signalAll();
      return left;
    } finally {
      lock.unlock();
    }
  }

  /** Takes this lane's share of the single prompts that wait in front. */
  private List<Work> pollSingles() {
    Deque<Work> singles = new ArrayDeque<>();
    waiting.stream().takeWhile(Group::single).forEach(group -> singles.addAll(group.work()));
    List<Work> batch = cut(singles, singleSizes);
    batch.forEach(work -> waiting.remove());
    return batch;
  }

  private static long rows(Stream<Work> work) {
    return work.mapToLong(Work::rows).sum();
  }

  /**
   * How large batches are.
   *
   * @param share how many rows a lane takes at once
   * @param severalRounds whether the lanes will have drifted apart by the time of the last round
   */
  private record Sizes(long share, boolean severalRounds) {}

  /** Batches of one size, as many for each lane, so that the lanes end together. */
  private Sizes sizes(long rows) {
    long perLane = LongMath.divide(rows, lanes, RoundingMode.CEILING);
    long rounds = LongMath.divide(perLane, budget, RoundingMode.CEILING);
    long share = LongMath.divide(perLane, Math.max(1, rounds), RoundingMode.CEILING);
    return new Sizes(share, rounds > 2);
  }

  /** Takes the next batch. */
  private List<Work> cut(Deque<Work> left, Sizes sizes) {
    // After several rounds the lanes do not stand side by side any more: half batches at the end
    // halve the time that the first to finish waits for the last.
    boolean end = sizes.severalRounds() && rows(left.stream()) <= lanes * sizes.share();
    long wanted = end ? sizes.share() / 2 : sizes.share();
    List<Work> batch = new ArrayList<>();
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

  /** Of a batch all belong to one call. */
  private void dropAbandoned() {
    while (!waiting.isEmpty() && waiting.element().work().get(0).sink().abandoned()) {
      waiting.remove();
    }
  }
}
