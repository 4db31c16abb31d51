package io.llara.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/** A caller's request for several prompts: lanes fill its slots, the caller waits for them. */
final class Call<T> {

  /** Told from the waiting thread how many slots are filled. */
  @FunctionalInterface
  interface Progress {
    void filled(int count);
  }

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final @Nullable Object[] slots;
  private int filled;
  private @Nullable RuntimeException failure;
  private volatile boolean ended;

  Call(int size) {
    slots = new Object[size];
    ended = size == 0;
  }

  /** Returns whether nobody waits for results any more: complete, failed or abandoned. */
  boolean ended() {
    return ended;
  }

  void fill(int index, T value) {
    lock.lock();
    try {
      slots[index] = value;
      filled++;
      ended |= filled == slots.length;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Ends the call with an error; the first one counts, and none after the end. */
  void fail(RuntimeException error) {
    lock.lock();
    try {
      if (!ended) {
        failure = error;
        ended = true;
        changed.signalAll();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Ends the call because its caller has gone; lanes drop what is left of it. */
  void abandon() {
    lock.lock();
    try {
      ended = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Waits for all slots.
   *
   * @throws InterruptedException if this thread is interrupted; the call is then abandoned
   * @throws IllegalStateException if the call was abandoned
   */
  List<T> await(Progress progress) throws InterruptedException {
    try {
      int reported = 0;
      while (true) {
        int count;
        lock.lockInterruptibly();
        try {
          while (!ended && filled == reported) {
            changed.await();
          }
          if (failure != null) {
            throw failure;
          }
          count = filled;
          if (count == reported && count < slots.length) {
            throw new IllegalStateException("the call was abandoned");
          }
        } finally {
          lock.unlock();
        }
        if (count > reported) {
          progress.filled(count); // outside of the lock: it is the user's code
          reported = count;
        }
        if (count == slots.length) {
          return results();
        }
      }
    } finally {
      abandon();
    }
  }

  @SuppressWarnings("unchecked") // only fill() writes slots, and all are filled
  private List<T> results() {
    return new ArrayList<>(Arrays.asList((T[]) slots));
  }
}
