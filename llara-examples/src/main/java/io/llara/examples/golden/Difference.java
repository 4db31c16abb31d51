package io.llara.examples.golden;

/**
 * How far numbers are from the expected ones; not a number or infinite if an element is.
 *
 * @param absolute the largest absolute difference of an element
 * @param relative that difference divided by the largest magnitude of the expected elements
 */
public record Difference(double absolute, double relative) {
  static Difference of(float[] actual, double[] expected) {
    return of(Vectors.doubles(actual), expected);
  }

  static Difference of(double[] actual, double[] expected) {
    if (actual.length != expected.length) {
      throw new IllegalArgumentException(
          actual.length + " elements against " + expected.length + " expected ones");
    }
    double absolute = 0;
    double magnitude = 0;
    for (int i = 0; i < actual.length; i++) {
      // Math.max hands on a NaN.
      absolute = Math.max(absolute, Math.abs(actual[i] - expected[i]));
      magnitude = Math.max(magnitude, Math.abs(expected[i]));
    }
    return new Difference(absolute, absolute == 0 ? 0 : absolute / magnitude);
  }

  boolean finite() {
    return Double.isFinite(absolute);
  }
}
