package io.llara.train;

import java.nio.file.Path;
import java.util.Map;

/**
 * Hears how a run goes on, on the thread that called it. What a listener throws ends the run, as an
 * error would; the last checkpoint stays.
 */
public interface TrainingListener {

  /** A listener that does nothing. */
  TrainingListener NONE = new TrainingListener() {};

  /** The run begins, or goes on where it ended. */
  default void started(RunInfo run) {}

  /** A step was made. */
  default void step(StepReport step) {}

  /**
   * Held-out texts were evaluated.
   *
   * @param step the step after which; 0 before the first
   * @param terms the loss terms by name
   */
  default void evaluated(long step, Map<String, Double> terms) {}

  /**
   * Negatives are being mined anew; it may take long.
   *
   * @param step the step after which
   */
  default void refreshing(long step) {}

  /**
   * Negatives were mined anew, and training goes on with them.
   *
   * @param step the step after which
   * @param pairs the pairs with their new negatives
   */
  default void refreshed(long step, Path pairs) {}

  /** A checkpoint was saved. */
  default void saved(long step, Path checkpoint) {}
}
