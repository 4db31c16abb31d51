package io.llara.train.run;

import com.google.common.base.Throwables;
import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.train.distributed.Communicator;
import java.time.Duration;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Work of the first process alone, or of all at the same time, on a thread of its own. All
 * processes ask each other meanwhile whether it is done, so that none waits longer in one call than
 * a communicator allows, however long it takes.
 */
@Internal
public final class LongWork {
  private static final Logger LOG = LoggerFactory.getLogger(LongWork.class);

  /** How often the processes ask. */
  private static final Duration APART = Duration.ofMillis(200);

  private LongWork() {}

  /**
   * Waits until the first process has done something; called by all of them.
   *
   * @param work is interrupted when the run is to stop; it should throw then, soon
   * @param stopRequested whether to give it up; any process can give up for all
   * @param name of the work, for its thread and for messages: {@code refresh after step 3}
   * @return whether it was done; the same in each process
   * @throws LlaraException if it failed; in the first process what the work threw
   */
  public static boolean onFirst(
      Communicator communicator, Runnable work, BooleanSupplier stopRequested, String name) {
    return onAll(communicator, communicator.rank() == 0 ? work : () -> {}, stopRequested, name);
  }

  /**
   * Waits until all processes have done something, as {@link #onFirst}. When it fails in one, the
   * work of the others is interrupted.
   */
  public static boolean onAll(
      Communicator communicator, Runnable work, BooleanSupplier stopRequested, String name) {
    FutureTask<Boolean> task = new FutureTask<>(work, true);
    Thread thread = new Thread(task, "llara-" + name);
    thread.setDaemon(true);
    boolean stopping = false;
    boolean elsewhere = false;
    Throwable failed = null;
    try {
      thread.start();
      while (true) {
        double[] sums =
            communicator.allReduce(
                stopRequested.getAsBoolean() ? 1 : 0,
                task.isDone() ? 1 : 0,
                failed != null ? 1 : 0);
        if (sums[1] == communicator.size()) {
          break;
        }
        if ((sums[0] > 0 || sums[2] > 0) && !stopping && !elsewhere) {
          stopping = sums[0] > 0;
          elsewhere = sums[2] > 0 && failed == null;
          thread.interrupt();
        }
        failed = await(task);
      }
    } finally {
      // What it uses is about to be closed.
      thread.interrupt();
      Uninterruptibles.joinUninterruptibly(thread);
    }
    Throwable failure = await(task);
    if (!communicator.any(failure != null)) {
      return true;
    }
    if (stopping) {
      LOG.debug("given up: {}", name, failure);
      return false;
    }
    if (failure != null && !elsewhere) {
      Throwables.throwIfUnchecked(failure);
    }
    throw new LlaraException(name + " failed; another process says why");
  }

  /** Waits for a moment and returns why the work failed, if it did. */
  private static @Nullable Throwable await(FutureTask<Boolean> task) {
    try {
      Uninterruptibles.getUninterruptibly(task, APART);
      return null;
    } catch (TimeoutException e) {
      return null;
    } catch (ExecutionException e) {
      return e.getCause();
    }
  }
}
