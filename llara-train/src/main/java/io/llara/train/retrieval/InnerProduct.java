package io.llara.train.retrieval;

import io.llara.Internal;

/**
 * The inner product that scores are: of float32 vectors in float64, summed in one fixed order. The
 * products are exact; Java defines every addition, so that a score is the same bits on every
 * machine.
 */
@Internal
public final class InnerProduct {
  private InnerProduct() {}

  /** Returns the inner product of two vectors of one length. */
  public static double of(float[] a, float[] b) {
    // Eight sums, each waiting for itself only: one alone waits for every addition before it.
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
      s0 += (double) a[i] * b[i];
      s1 += (double) a[i + 1] * b[i + 1];
      s2 += (double) a[i + 2] * b[i + 2];
      s3 += (double) a[i + 3] * b[i + 3];
      s4 += (double) a[i + 4] * b[i + 4];
      s5 += (double) a[i + 5] * b[i + 5];
      s6 += (double) a[i + 6] * b[i + 6];
      s7 += (double) a[i + 7] * b[i + 7];
    }
    for (int i = whole; i < a.length; i++) {
      s0 += (double) a[i] * b[i];
    }
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
  }
}
