package io.llara.train.contrastive;

import io.llara.retrieval.Shard;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import java.nio.file.Path;

/**
 * Finds other negatives for the pairs of a run, with the model as it is by then. A function of what
 * it is given, so that a run that goes on gets the negatives it would have got.
 */
@FunctionalInterface
public interface NegativeRefresher {

  /**
   * Writes the pairs with other negatives.
   *
   * <p>It runs on a thread of its own. An interrupt means that the run is to end: it should throw
   * then, soon; the run that goes on calls it again.
   *
   * @param model a directory with the model as trained so far, for {@link io.llara.Encoder#load};
   *     gone when this returns
   * @param pairs the pairs as they are trained on
   * @param out the JSONL file to write, as {@link Dataset#ofPairs} reads it: the same queries with
   *     the same positives in the same order. A pair with too few negatives for a group keeps those
   *     it had. The folder is there and other files may be left in it
   */
  void refresh(Path model, Dataset<TrainingPair> pairs, Path out);

  /**
   * Does a share of the work for {@link #refresh}, in each of several processes at the same time,
   * before one of them refreshes. By default nothing; a process alone is not asked.
   *
   * <p>It runs on a thread of its own and is interrupted as {@link #refresh}.
   *
   * @param model as for {@link #refresh}
   * @param pairs as for {@link #refresh}
   * @param share which share of how many
   * @param folder the {@link #shares} of the file to be written, which is there and empty at first;
   *     all processes write into it
   */
  default void share(Path model, Dataset<TrainingPair> pairs, Shard share, Path folder) {}

  /** Returns the folder of all shares of the work for a file; gone once the file is taken over. */
  static Path shares(Path out) {
    return out.resolveSibling("shares");
  }

  /**
   * Says what decides the negatives, for the settings that a run must go on with: two refreshers
   * that give other negatives should say something else.
   */
  default String description() {
    return "custom";
  }
}
