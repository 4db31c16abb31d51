package io.llara.train;

import java.nio.file.Path;
import java.util.Map;

/**
 * Follows a run, on the thread that called it. What a listener throws ends the run, as an error
 * would; the last checkpoint stays.
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
   * Test collections are about to be searched; it may take long.
   *
   * @param step the step after which
   */
  default void evaluatingRetrieval(long step) {}

  /** Test collections were searched. */
  default void evaluatedRetrieval(RetrievalReport report) {}

  /**
   * A refresh of the negatives begins; it may take long.
   *
   * @param step the step after which
   */
  default void refreshing(long step) {}

  /**
   * The negatives were refreshed, and training goes on with them.
   *
   * @param step the step after which
   * @param pairs the pairs with their new negatives
   */
  default void refreshed(long step, Path pairs) {}

  /** A checkpoint was saved. */
  default void saved(long step, Path checkpoint) {}
}
