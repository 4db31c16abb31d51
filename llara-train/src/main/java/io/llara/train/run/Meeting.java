package io.llara.train.run;

import io.llara.Internal;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Where lanes wait for each other in the middle of their tasks: the last to come does what all wait
 * for, then all go on. Met at once.
 *
 * <p>A task that fails before it has come must {@linkplain #giveUp give up}, or the others wait for
 * ever.
 */
@Internal
public final class Meeting {
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition over = lock.newCondition();
  private final Runnable action;
  private int missing;
  private boolean done;
  private @Nullable Throwable failure;

  /**
   * Prepares a meeting.
   *
   * @param parties how many come
   * @param action what the last one does, on its thread
   */
  public Meeting(int parties, Runnable action) {
    this.missing = parties;
    this.action = action;
  }

  /**
   * Waits for the others, also when this thread is interrupted meanwhile.
   *
   * @throws RuntimeException what the action threw, or what another one gave up for
   */
  public void await() {
    lock.lock();
    try {
      if (--missing == 0 && failure == null) {
        act();
      }
      while (!done && failure == null) {
        over.awaitUninterruptibly();
      }
      if (failure instanceof Error error) {
        throw error;
      } else if (failure instanceof RuntimeException error) {
        throw error;
      } else if (failure != null) {
        throw new IllegalStateException(failure);
      }
    } finally {
      lock.unlock();
    }
  }

  private void act() {
    try {
      action.run();
      done = true;
      over.signalAll();
    } catch (RuntimeException | Error e) {
      giveUp(e);
    }
  }

  /** Lets the others fail, too. Nothing happens if the meeting is over. */
  public void giveUp(Throwable reason) {
    lock.lock();
    try {
      if (!done && failure == null) {
        failure = reason;
        over.signalAll();
      }
    } finally {
      lock.unlock();
    }
  }
}
