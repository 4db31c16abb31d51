package io.llara.train;

import io.llara.LlaraException;

/** A run of training, described and ready to begin: what every trainer's builder builds. */
public interface Trainer {

  /**
   * Runs until all steps are made, or {@link #stop} is called, or this thread is interrupted; then
   * a checkpoint is saved and the run ends cleanly. The interrupt is kept.
   *
   * @throws LlaraException if the model or the data cannot be used, the settings are not those that
   *     the run in the directory was begun with, or something cannot be written
   * @throws TrainingException if the loss is not a number
   */
  TrainingResult run();

  /** Ends the run after the step at hand, with a checkpoint. May be called from any thread. */
  void stop();
}
