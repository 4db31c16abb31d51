package io.llara.train.optim;

import java.util.Objects;

/**
 * The learning rate over the steps of a run: up in a straight line from step 1 to the peak at the
 * last step of the warm-up, then down to 0. That is reached one step after the last, so that no
 * step is taken with a rate of 0.
 *
 * @param peak the largest rate, 0 or more
 * @param warmupSteps how many steps the way up takes; 0 starts at the peak
 * @param totalSteps how many steps there are
 * @param decay the way down
 */
public record LearningRateSchedule(double peak, long warmupSteps, long totalSteps, Decay decay) {
  /** The way down from the peak. */
  public enum Decay {
    /** The peak until the end. */
    CONSTANT,
    /** A straight line. */
    LINEAR,
    /** Half a wave of a cosine: slow, fast, slow. */
    COSINE
  }

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public LearningRateSchedule {
    Objects.requireNonNull(decay, "decay");
    if (!(peak >= 0 && peak < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          "learning rate is " + peak + "; expected a finite number, 0 or more");
    }
    if (totalSteps < 1) {
      throw new IllegalArgumentException("steps is " + totalSteps + "; expected 1 or more");
    }
    if (warmupSteps < 0 || warmupSteps > totalSteps) {
      throw new IllegalArgumentException(
          "warm-up is %d steps; expected 0 to %d, the steps of the run"
              .formatted(warmupSteps, totalSteps));
    }
  }

  /**
   * Returns the rate of a step, counted from 1; past the last step, where the decay ends.
   *
   * @throws IllegalArgumentException if the step is below 1
   */
  public double at(long step) {
    if (step < 1) {
      throw new IllegalArgumentException("step is " + step + "; steps are counted from 1");
    }
    if (step < warmupSteps) {
      return peak * step / warmupSteps;
    }
    // Without a warm-up, the first step has the peak.
    long top = Math.max(warmupSteps, 1);
    double progress = Math.min(1, (double) (step - top) / (totalSteps + 1 - top));
    return peak
        * switch (decay) {
          case CONSTANT -> 1;
          case LINEAR -> 1 - progress;
          case COSINE -> (1 + Math.cos(Math.PI * progress)) / 2;
        };
  }
}
