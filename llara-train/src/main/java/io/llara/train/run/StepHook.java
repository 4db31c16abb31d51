package io.llara.train.run;

import io.llara.Internal;
import java.util.function.BooleanSupplier;

/**
 * Work between two steps that all processes of a run take part in. The state of the run is saved
 * before: work that was cut short is begun again by the run that goes on there, and must give the
 * same once more, or find that it is done.
 */
@Internal
public interface StepHook {
  /**
   * Takes up earlier work when a run begins or goes on.
   *
   * @param step the last step that was made
   */
  void resume(long step);

  /** Returns whether there is work after a step and before the next; the same in each process. */
  boolean isDue(long step);

  /** Returns whether there is work after the last step, too. */
  default boolean isDueAtEnd() {
    return false;
  }

  /**
   * Does the work.
   *
   * @param stopRequested whether to give it up; any process can give up for all
   * @return whether it is done; the same in each process
   */
  boolean run(long step, BooleanSupplier stopRequested);
}
