package io.llara.train.contrastive;

/**
 * When and how negatives are refreshed while training goes on (ANCE, arXiv 2007.00808, section 4:
 * there asynchronously, by machines of their own; here training waits).
 *
 * <pre>{@code
 * // After 200, 400 and 600 steps.
 * Refresh refresh = Refresh.every(200, refresher).times(3);
 * }</pre>
 *
 * @param every the steps from one refresh to the next
 * @param first the steps before the first; 0 for one before training begins
 * @param times the most refreshes
 * @param refresher how negatives are found
 */
public record Refresh(long every, long first, long times, NegativeRefresher refresher) {
  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is too small
   */
  public Refresh {
    if (every < 1 || first < 0 || times < 1) {
      throw new IllegalArgumentException(
          "a refresh every %d steps from step %d on, %d times; expected at least 1, 0 and 1"
              .formatted(every, first, times));
    }
  }

  /** Returns refreshes every so many steps, the first after as many, until training ends. */
  public static Refresh every(long steps, NegativeRefresher refresher) {
    return new Refresh(steps, steps, Long.MAX_VALUE, refresher);
  }

  /** Returns the same with the first refresh after so many steps. */
  public Refresh from(long steps) {
    return new Refresh(every, steps, times, refresher);
  }

  /** Returns the same with so many refreshes at most. */
  public Refresh times(long most) {
    return new Refresh(every, first, most, refresher);
  }

  /** Returns whether there is a refresh after a step and before the next. */
  boolean isDue(long step) {
    return step >= first && (step - first) % every == 0 && (step - first) / every < times;
  }

  /** Returns the step of the last refresh before a step, or -1 if there is none. */
  long lastBefore(long step) {
    return step <= first ? -1 : first + Math.min((step - 1 - first) / every, times - 1) * every;
  }

  /** Returns what decides the results of a run. */
  String spelled() {
    return "every %d steps from step %d on%s; %s"
        .formatted(
            every,
            first,
            times == Long.MAX_VALUE ? "" : ", %d times at most".formatted(times),
            refresher.description());
  }
}
