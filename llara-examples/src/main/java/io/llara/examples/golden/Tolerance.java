package io.llara.examples.golden;

import java.util.Locale;
import java.util.Optional;

/**
 * How far numbers may be from the expected ones.
 *
 * @param worst the most that any of them may differ by
 * @param most what all but one in a thousand must keep to; the same as {@code worst} if there is no
 *     such rule
 */
record Tolerance(double worst, double most) {
  private static final int ONE_IN = 1000;

  static Tolerance of(double worst) {
    return new Tolerance(worst, worst);
  }

  /** Returns a measure of how far the numbers are from the expected ones. */
  Measure measure(String quantity, double[] actual, double[] expected, String remark) {
    Difference difference = Difference.of(actual, expected);
    // Written so that a difference that is no number fails.
    boolean within = difference.absolute() <= worst;
    double strain = difference.absolute() / worst;
    String criterion = String.format(Locale.ROOT, "tolerance %.1e", worst);
    if (most < worst) {
      int beyond = 0;
      for (int i = 0; i < actual.length; i++) {
        beyond += Math.abs(actual[i] - expected[i]) <= most ? 0 : 1;
      }
      // At least one: of fewer than a thousand, less cannot be forgiven.
      int allowed = Math.max(1, actual.length / ONE_IN);
      within &= beyond <= allowed;
      strain = Math.max(strain, (double) beyond / allowed);
      criterion +=
          String.format(
              Locale.ROOT, ", %.1e for 99.9 %%: %d of %d beyond it", most, beyond, actual.length);
    }
    return new Measure(
        quantity,
        Optional.of(difference),
        criterion + remark,
        strain,
        within ? Verdict.PASS : Verdict.FAIL);
  }
}
