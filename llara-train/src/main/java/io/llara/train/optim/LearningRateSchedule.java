package io.llara.train.optim;

import java.util.Objects;

/**
 * The learning rate over the steps of a run: up to the peak, then down to 0, which is reached after
 * the last step.
 *
 * @param peak the largest rate, 0 or more
 * @param warmupSteps how many steps the way up takes; 0 starts at the peak
 * @param totalSteps how many steps there are
 * @param warmup the way up
 * @param decay the way down
 */
public record LearningRateSchedule(
    double peak, long warmupSteps, long totalSteps, Warmup warmup, Decay decay) {
  /** DeepSpeed's schedule is set after a step, and begins to count with the second. */
  private static final int LATE = 2;

  /** The way up to the peak. */
  public enum Warmup {
    /** A straight line from step 1 to the peak at the last step of the warm-up. */
    LINEAR,
    /**
     * A logarithm, step by step as DeepSpeed's WarmupDecayLR has it, the scheduler of the released
     * code: steps 1 and 2 have a rate of 0, step {@code s} of a warm-up of {@code W} steps, 2 at
     * least, has {@code peak · ln(s − 1) / ln(W)}. Steps {@code W + 1} and {@code W + 2} have the
     * peak, and the way down is as much later.
     */
    LOG
  }

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
    Objects.requireNonNull(warmup, "warmup");
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
    if (warmup == Warmup.LOG) {
      long top = Math.max(warmupSteps, 2);
      long done = step - LATE;
      return done < top
          ? peak * (Math.log(Math.max(done, 0) + 1) / Math.log(top))
          : fallen(done - top, totalSteps - top);
    }
    if (step < warmupSteps) {
      return peak * step / warmupSteps;
    }
    // Without a warm-up, the first step has the peak.
    long top = Math.max(warmupSteps, 1);
    return fallen(step - top, totalSteps + 1 - top);
  }

  /** Returns the rate so many steps after the peak, of as many as the way down takes. */
  private double fallen(long steps, long all) {
    double progress = Math.min(1, (double) steps / Math.max(all, 1));
    return peak
        * switch (decay) {
          case CONSTANT -> 1;
          case LINEAR -> 1 - progress;
          case COSINE -> (1 + Math.cos(Math.PI * progress)) / 2;
        };
  }
}
