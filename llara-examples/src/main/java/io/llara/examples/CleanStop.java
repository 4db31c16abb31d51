package io.llara.examples;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Stops work in good order on SIGINT, SIGTERM and SIGHUP: the process stays until the work has
 * stopped, or for {@link #PATIENCE}. The exit code is then the signal's, whatever the command
 * returns.
 */
final class CleanStop implements AutoCloseable {
  /** Long enough for a step and a checkpoint of a large model. */
  static final Duration PATIENCE = Duration.ofMinutes(5);

  /** How long a failed command may take to report why. */
  private static final Duration LAST_WORDS = Duration.ofSeconds(1);

  private final Runnable stop;
  private final Streams streams;
  private final Thread caller = Thread.currentThread();
  private final CountDownLatch ended = new CountDownLatch(1);
  private final Thread hook = new Thread(this::stop, "llara-stop");
  private volatile boolean done;

  /**
   * Starts listening for the signals.
   *
   * @param stop requests the work to stop, and returns at once
   */
  CleanStop(Streams streams, Runnable stop) {
    this.stop = stop;
    this.streams = streams;
    Runtime.getRuntime().addShutdownHook(hook);
  }

  /** Marks the work as ended and everything about it as reported. */
  void done() {
    done = true;
  }

  private void stop() {
    stop.run();
    try {
      if (!ended.await(PATIENCE.toSeconds(), TimeUnit.SECONDS)) {
        streams.note(
            "the run did not stop within %d minutes and is aborted; its last checkpoint is kept"
                .formatted(PATIENCE.toMinutes()));
      } else if (!done) {
        caller.join(LAST_WORDS.toMillis());
      }
    } catch (InterruptedException e) {
      // Then the process ends now.
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    ended.countDown();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The hook is running, and now continues.
    }
  }
}
