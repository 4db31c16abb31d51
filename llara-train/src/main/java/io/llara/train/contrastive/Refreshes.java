package io.llara.train.contrastive;

import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.LlaraException;
import io.llara.train.TrainingListener;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.distributed.Communicator;
import io.llara.train.run.Interlude;
import java.nio.file.Path;
import java.time.Duration;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The refreshes of one run. The first process has the negatives mined, on a thread of its own; all
 * processes ask each other meanwhile whether it is done, so that none waits longer for an answer
 * than a communicator does, however long it takes.
 */
final class Refreshes implements Interlude {
  private static final Logger LOG = LoggerFactory.getLogger(Refreshes.class);

  /** How often the processes ask. */
  private static final Duration APART = Duration.ofMillis(200);

  private final Refresh refresh;
  private final Path out;
  private final int minNegatives;
  private final Communicator communicator;
  private final Parts parts;
  private Dataset<TrainingPair> current;

  /**
   * What a refresh takes and gives.
   *
   * @param write writes the model as it is into a directory that does not exist
   * @param open makes a source of a file of refreshed pairs
   * @param use what goes on with them
   * @param listener hears of it
   */
  record Parts(
      Consumer<Path> write,
      Function<Path, Dataset<TrainingPair>> open,
      Consumer<Dataset<TrainingPair>> use,
      TrainingListener listener) {}

  /**
   * Prepares the refreshes.
   *
   * @param out the directory of the run
   * @param pairs those that the run begins with
   * @param minNegatives how many negatives a pair must have
   */
  Refreshes(
      Refresh refresh,
      Path out,
      Dataset<TrainingPair> pairs,
      int minNegatives,
      Communicator communicator,
      Parts parts) {
    this.refresh = refresh;
    this.out = out;
    this.current = pairs;
    this.minNegatives = minNegatives;
    this.communicator = communicator;
    this.parts = parts;
  }

  /**
   * Takes up the pairs that a run went on with before a step was made.
   *
   * @param step the last step that was made; a refresh right after it is still to come
   * @throws LlaraException if they are not there any more
   */
  void goOnAfter(long step) {
    long last = refresh.lastBefore(step);
    if (last >= 0) {
      RefreshedPairs pairs = new RefreshedPairs(out, last);
      pairs.requireWhole();
      use(pairs);
    }
  }

  private void use(RefreshedPairs pairs) {
    current = parts.open().apply(pairs.pairs());
    parts.use().accept(current);
  }

  @Override
  public boolean isDue(long step) {
    return refresh.isDue(step);
  }

  @Override
  public boolean run(long step, BooleanSupplier stopRequested) {
    RefreshedPairs pairs = new RefreshedPairs(out, step);
    boolean first = communicator.rank() == 0;
    if (!communicator.any(first && pairs.areWhole())) {
      parts.listener().refreshing(step);
      if (!await(step, first ? new Work(pairs) : null, stopRequested)) {
        return false;
      }
      parts.listener().refreshed(step, pairs.pairs());
    }
    use(pairs);
    return true;
  }

  /**
   * Waits until the work of the first process is done.
   *
   * @param work that work; null in the others
   * @return false if it was given up
   */
  private boolean await(long step, @Nullable Work work, BooleanSupplier stopRequested) {
    boolean stopping = false;
    try {
      if (work != null) {
        work.start();
      }
      while (true) {
        boolean ended = work != null && !work.isAlive();
        double[] sums = communicator.allReduce(stopRequested.getAsBoolean() ? 1 : 0, ended ? 1 : 0);
        if (sums[1] > 0) {
          break;
        }
        if (sums[0] > 0 && !stopping) {
          stopping = true;
          if (work != null) {
            work.interrupt();
          }
        }
        pause(work);
      }
    } finally {
      if (work != null) {
        // What it uses is about to be closed.
        work.interrupt();
        Uninterruptibles.joinUninterruptibly(work);
      }
    }
    Throwable failure = work == null ? null : work.failure;
    if (!communicator.any(failure != null)) {
      return true;
    }
    if (stopping) {
      LOG.debug("the refresh after step {} was given up", step, failure);
      return false;
    }
    if (failure instanceof Error error) {
      throw error;
    }
    if (failure instanceof RuntimeException e) {
      throw e;
    }
    throw new LlaraException(
        "the negatives could not be mined anew after step %d; process 0 says why".formatted(step));
  }

  private static void pause(@Nullable Work work) {
    if (work == null) {
      Uninterruptibles.sleepUninterruptibly(APART);
    } else {
      Uninterruptibles.joinUninterruptibly(work, APART);
    }
  }

  /** Writes the model, has the negatives mined, and takes over the pairs. */
  private final class Work extends Thread {
    private final RefreshedPairs pairs;
    private volatile @Nullable Throwable failure;

    Work(RefreshedPairs pairs) {
      super("llara-refresh");
      this.pairs = pairs;
      setDaemon(true);
    }

    @Override
    public void run() {
      try {
        pairs.prepare();
        try {
          parts.write().accept(pairs.model());
          refresh.refresher().refresh(pairs.model(), current, pairs.mined());
          pairs.take(current, minNegatives);
        } finally {
          pairs.removeModel();
        }
      } catch (RuntimeException | Error e) {
        failure = e;
      }
    }
  }
}
