package io.llara.train.contrastive;

import io.llara.LlaraException;
import io.llara.retrieval.Shard;
import io.llara.train.TrainingListener;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.distributed.Communicator;
import io.llara.train.run.Examples;
import io.llara.train.run.LongWork;
import io.llara.train.run.RunOptions;
import io.llara.train.run.StepHook;
import java.nio.file.Path;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/**
 * The refreshes of one run: the first process writes the model, each does a share of the work, and
 * the first mines.
 */
final class Refreshes implements StepHook {
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
      if (!mine(pairs, stopRequested, "refresh after step " + step)) {
        return false;
      }
      listener.refreshed(step, pairs.pairs());
    }
    use(pairs);
    return true;
  }

  /** Has the negatives mined and takes over the pairs; returns false if that was given up. */
  private boolean mine(RefreshedPairs pairs, BooleanSupplier stopRequested, String name) {
    NegativeRefresher refresher = refresh.refresher();
    Shard share = new Shard(communicator.rank() + 1, communicator.size());
    Runnable write =
        () -> {
          pairs.prepare();
          writeModel.accept(pairs.model());
        };
    Runnable encode = () -> refresher.share(pairs.model(), current, share, pairs.shares());
    Runnable mine =
        () -> {
          refresher.refresh(pairs.model(), current, pairs.mined());
          pairs.take(current, data.minNegatives());
        };
    try {
      return LongWork.onFirst(communicator, write, stopRequested, name)
          && (share.of() == 1 || LongWork.onAll(communicator, encode, stopRequested, name))
          && LongWork.onFirst(communicator, mine, stopRequested, name);
    } finally {
      if (communicator.rank() == 0) {
        pairs.removeInputs();
      }
    }
  }
}
