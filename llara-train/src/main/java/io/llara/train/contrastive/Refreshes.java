package io.llara.train.contrastive;

import com.google.common.base.Throwables;
import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.LlaraException;
import io.llara.train.TrainingListener;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.distributed.Communicator;
import io.llara.train.run.Examples;
import io.llara.train.run.RunOptions;
import io.llara.train.run.StepHook;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The refreshes of one run. The first process has the negatives mined, on a thread of its own; all
 * processes ask each other meanwhile whether it is done, so that none waits longer in one call than
 * a communicator allows, however long it takes.
 */
final class Refreshes implements StepHook {
  private static final Logger LOG = LoggerFactory.getLogger(Refreshes.class);

  /** How often the processes ask. */
  private static final Duration APART = Duration.ofMillis(200);

  private final Refresh refresh;
  private final RunOptions.Output output;
  private final ContrastiveData data;
  private final Examples<TrainingPair, PairExample> examples;
  private final Communicator communicator;
  private final Consumer<Path> writeModel;
  private Dataset<TrainingPair> current;

  /**
   * Prepares the refreshes.
   *
   * @param examples go on with the refreshed pairs
   * @param writeModel writes the model as it is into a directory that does not exist
   */
  Refreshes(
      ContrastiveTrainer.Options options,
      ContrastiveData data,
      Examples<TrainingPair, PairExample> examples,
      Communicator communicator,
      Consumer<Path> writeModel) {
    this.refresh = options.refresh().orElseThrow();
    this.output = options.run().output();
    this.data = data;
    this.examples = examples;
    this.communicator = communicator;
    this.writeModel = writeModel;
    this.current = examples.training();
  }

  /**
   * Takes up the pairs that the last step was made with; a refresh right after it is still to come.
   *
   * @throws LlaraException if they are not there any more
   */
  @Override
  public void resume(long step) {
    long last = refresh.lastBefore(step);
    if (last >= 0) {
      RefreshedPairs pairs = new RefreshedPairs(output.directory(), last);
      pairs.requireWhole();
      use(pairs);
    }
  }

  private void use(RefreshedPairs pairs) {
    current = data.refreshed(pairs.pairs());
    examples.replace(current);
  }

  @Override
  public boolean isDue(long step) {
    return refresh.isDue(step);
  }

  @Override
  public boolean run(long step, BooleanSupplier stopRequested) {
    RefreshedPairs pairs = new RefreshedPairs(output.directory(), step);
    boolean first = communicator.rank() == 0;
    if (!communicator.any(first && pairs.areWhole())) {
      TrainingListener listener = output.listener();
      listener.refreshing(step);
      if (!mine(step, pairs, stopRequested)) {
        return false;
      }
      listener.refreshed(step, pairs.pairs());
    }
    use(pairs);
    return true;
  }

  /** Waits until the first process has mined the pairs; returns false if that was given up. */
  private boolean mine(long step, RefreshedPairs pairs, BooleanSupplier stopRequested) {
    boolean first = communicator.rank() == 0;
    // In the other processes it never runs.
    FutureTask<Boolean> work = new FutureTask<>(() -> mine(pairs), true);
    Thread thread = new Thread(work, "llara-refresh");
    thread.setDaemon(true);
    boolean stopping = false;
    try {
      if (first) {
        thread.start();
      }
      while (true) {
        double[] sums =
            communicator.allReduce(stopRequested.getAsBoolean() ? 1 : 0, work.isDone() ? 1 : 0);
        if (sums[1] > 0) {
          break;
        }
        if (sums[0] > 0 && !stopping) {
          stopping = true;
          thread.interrupt();
        }
        await(work);
      }
    } finally {
      // What it uses is about to be closed.
      thread.interrupt();
      Uninterruptibles.joinUninterruptibly(thread);
    }
    Throwable failure = await(work);
    if (!communicator.any(failure != null)) {
      return true;
    }
    if (stopping) {
      LOG.debug("the refresh after step {} was given up", step, failure);
      return false;
    }
    if (failure != null) {
      Throwables.throwIfUnchecked(failure);
    }
    throw new LlaraException(
        "the negatives could not be refreshed after step %d; process 0 says why".formatted(step));
  }

  /** Waits for a moment and returns why the work failed, if it did. */
  private static @Nullable Throwable await(FutureTask<Boolean> work) {
    try {
      Uninterruptibles.getUninterruptibly(work, APART);
      return null;
    } catch (TimeoutException e) {
      return null;
    } catch (ExecutionException e) {
      return e.getCause();
    }
  }

  /** Writes the model, has the negatives mined, and takes over the pairs. */
  private void mine(RefreshedPairs pairs) {
    pairs.prepare();
    try {
      writeModel.accept(pairs.model());
      refresh.refresher().refresh(pairs.model(), current, pairs.mined());
      pairs.take(current, data.minNegatives());
    } finally {
      pairs.removeModel();
    }
  }
}
