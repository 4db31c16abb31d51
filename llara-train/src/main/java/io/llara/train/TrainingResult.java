package io.llara.train;

import java.nio.file.Path;
import java.util.Optional;

/**
 * How a run ended.
 *
 * @param outcome what happened
 * @param step the last step that was made
 * @param model the directory of the trained model, that of the last step; there only if the run is
 *     complete
 * @param best the model that retrieved best, if test collections were searched while training
 */
public record TrainingResult(Outcome outcome, long step, Path model, Optional<Best> best) {
  /** Describes the end of a run that was not evaluated on test collections. */
  public TrainingResult(Outcome outcome, long step, Path model) {
    this(outcome, step, model, Optional.empty());
  }

  /**
   * The model that retrieved best while training.
   *
   * @param step the step after which
   * @param ndcg its nDCG@10, the mean over the collections
   * @param model its directory
   */
  public record Best(long step, double ndcg, Path model) {}

  /** What a run came to. */
  public enum Outcome {
    /** All steps were made, and the model was written. */
    COMPLETED,
    /** It was stopped and saved a checkpoint; the same run goes on from there. */
    STOPPED,
    /** It had been complete before; nothing was done. */
    ALREADY_COMPLETE
  }
}
