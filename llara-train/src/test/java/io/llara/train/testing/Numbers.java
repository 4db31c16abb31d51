package io.llara.train.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import java.util.Random;

/** What tests expect of many numbers at once. */
public final class Numbers {
  private Numbers() {}

  /**
   * Fails unless every number is what it should be, within a tolerance that is relative to the
   * largest one expected.
   */
  public static void assertClose(String what, float[] actual, float[] expected, double tolerance) {
    assertThat(actual).as(what).hasSameSizeAs(expected);
    double largest = largest(expected);
    for (int i = 0; i < expected.length; i++) {
      double difference = Math.abs((double) actual[i] - expected[i]);
      // Written so that a NaN fails.
      if (!(difference <= tolerance * largest)) {
        throw new AssertionError(
            "%s[%d] is %s, not %s; the largest expected is %s"
                .formatted(what, i, actual[i], expected[i], largest));
      }
    }
  }

  /** Fails unless both maps have the same names, and the numbers of each are close. */
  public static void assertClose(
      Map<String, float[]> actual, Map<String, float[]> expected, double tolerance) {
    assertThat(actual).containsOnlyKeys(expected.keySet());
    expected.forEach((name, values) -> assertClose(name, actual.get(name), values, tolerance));
  }

  /**
   * Fails unless a gradient is what it should be, its tensors taken as one vector: within a
   * tolerance that is relative to the largest number of the whole gradient. Rounding comes from the
   * layers above and does not shrink with a tensor's own numbers.
   */
  public static void assertGradientClose(
      Map<String, float[]> actual, Map<String, float[]> expected, double tolerance) {
    assertThat(actual).containsOnlyKeys(expected.keySet());
    double largest = expected.values().stream().mapToDouble(Numbers::largest).max().orElse(0);
    expected.forEach(
        (name, values) -> {
          double own = largest(values);
          double relative = own == 0 ? 0 : tolerance * largest / own;
          assertClose(name, actual.get(name), values, relative);
        });
  }

  /** Returns the largest absolute value. */
  public static double largest(float[] values) {
    double largest = 0;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  /** Returns normal random numbers. */
  public static float[] random(int count, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }
}
