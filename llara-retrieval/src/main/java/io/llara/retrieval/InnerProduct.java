package io.llara.retrieval;

import io.llara.Internal;

/**
 * The inner product that scores are: of float32 vectors in float64, summed in one fixed order. The
 * products are exact, and Java defines every addition, so that a score is the same bits on every
 * machine.
 */
@Internal
public final class InnerProduct {
  private InnerProduct() {}

  /** Returns the inner product of a vector that is {@linkplain #widened widened} and another. */
  public static double of(double[] a, float[] b) {
    // Eight sums, each waiting for itself only: one alone would wait for every addition before it.
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    double s4 = 0;
    double s5 = 0;
    double s6 = 0;
    double s7 = 0;
    int whole = a.length & ~7;
    for (int i = 0; i < whole; i += 8) {
      s0 += a[i] * b[i];
      s1 += a[i + 1] * b[i + 1];
      s2 += a[i + 2] * b[i + 2];
      s3 += a[i + 3] * b[i + 3];
      s4 += a[i + 4] * b[i + 4];
      s5 += a[i + 5] * b[i + 5];
      s6 += a[i + 6] * b[i + 6];
      s7 += a[i + 7] * b[i + 7];
    }
    for (int i = whole; i < a.length; i++) {
      s0 += a[i] * b[i];
    }
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
  }

  /** Returns a vector's values in float64: converted once, where it meets many others. */
  public static double[] widened(float[] vector) {
    double[] wide = new double[vector.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = vector[i];
    }
    return wide;
  }
}
