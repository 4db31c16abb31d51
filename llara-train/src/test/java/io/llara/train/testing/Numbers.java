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
   * Fails unless a gradient, its tensors taken as one vector, is what it should be: the length of
   * the difference relative to the length expected. A single number may be off by ten times as
   * much, relative to the largest of its tensor: how far rounding takes one depends on the
   * processor.
   */
  public static void assertGradientClose(
      Map<String, float[]> actual, Map<String, float[]> expected, double tolerance) {
    assertClose(actual, expected, 10 * tolerance);
    double difference = 0;
    double length = 0;
    for (Map.Entry<String, float[]> tensor : expected.entrySet()) {
      float[] values = actual.get(tensor.getKey());
      for (int i = 0; i < values.length; i++) {
        double wanted = tensor.getValue()[i];
        difference += (values[i] - wanted) * (values[i] - wanted);
        length += wanted * wanted;
      }
    }
    assertThat(Math.sqrt(difference / length)).as("relative error").isLessThan(tolerance);
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
