package io.llara.train;

import java.nio.file.Path;

/**
 * How a run ended.
 *
 * @param outcome what happened
 * @param step the last step that was made
 * @param model the directory of the trained model; there only if the run is complete
 */
public record TrainingResult(Outcome outcome, long step, Path model) {

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
