package io.llara.engine;

import com.google.common.math.LongMath;
import io.llara.prompt.Prompt;
import java.math.RoundingMode;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Prompts waiting for a lane. A lane takes as many at once as fit its budget of rows, but leaves
 * the other lanes their share, so that the last ones end together. Calls of several threads meet in
 * one batch.
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

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition notEmpty = lock.newCondition();
  private final Deque<Work> waiting = new ArrayDeque<>();
  private final int lanes;
  private final int budget;
  private long waitingRows;

  /** How many rows a lane takes at once of what waits. */
  private long share;

  /** Whether the lanes will have drifted apart by the time of the last round. */
  private boolean severalRounds;

  private int running;
  private volatile boolean closed;

  WorkQueue(int lanes, int budget) {
    this.lanes = lanes;
    this.budget = budget;
  }

  boolean isClosed() {
    return closed;
  }

  /** Adds work, or returns false if the queue is closed. */
  boolean add(Collection<Work> work) {
    lock.lock();
    try {
      if (closed) {
        return false;
      }
      for (Work one : work) {
        waiting.add(one);
        waitingRows += one.rows();
      }
      // Batches of one size, as many for each lane, so that the lanes end together.
      long perLane = LongMath.divide(waitingRows, lanes, RoundingMode.CEILING);
      long rounds = LongMath.divide(perLane, budget, RoundingMode.CEILING);
      share = LongMath.divide(perLane, Math.max(1, rounds), RoundingMode.CEILING);
      severalRounds = rounds > 2;
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
          List<Work> batch = poll();
          boolean alone = batch.size() == 1 && waiting.isEmpty() && running == 0;
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
      List<Work> left = new ArrayList<>(waiting);
      waiting.clear();
      waitingRows = 0;
      notEmpty.signalAll();
      return left;
    } finally {
      lock.unlock();
    }
  }

  private List<Work> poll() {
    // After several rounds the lanes do not stand side by side any more: half batches at the end
    // halve the time that the first to finish waits for the last.
    long wanted = severalRounds && waitingRows <= lanes * share ? share / 2 : share;
    List<Work> batch = new ArrayList<>();
    long rows = 0;
    while (!waiting.isEmpty()) {
      int next = waiting.element().rows();
      // Half of a prompt over the share is as good as half under it.
      if (rows > 0 && (rows + next / 2 > wanted || rows + next > budget)) {
        break;
      }
      batch.add(waiting.remove());
      rows += next;
    }
    waitingRows -= rows;
    return batch;
  }

  private void dropAbandoned() {
    while (!waiting.isEmpty() && waiting.peek().sink().abandoned()) {
      waitingRows -= waiting.remove().rows();
    }
  }
}
