package io.llara;

/** Similarity of embeddings. All methods are thread-safe and accumulate in float64. */
public final class Similarity {
  private Similarity() {}

  /**
   * Returns the cosine of the angle between two vectors, in [-1, 1].
   *
   * @throws IllegalArgumentException if the lengths differ, or a vector is empty, zero or not
   *     finite
   */
  public static double cosine(float[] a, float[] b) {
    double norms = Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b));
    if (!(norms > 0) || Double.isInfinite(norms)) {
      throw new IllegalArgumentException("the cosine of a zero or non-finite vector is undefined");
    }
    return Math.max(-1, Math.min(1, dot(a, b) / norms));
  }

  /**
   * Returns the inner product of two vectors; of two vectors of length 1 it is their cosine.
   *
   * @throws IllegalArgumentException if the lengths differ or are zero
   */
  public static double dot(float[] a, float[] b) {
    if (a.length != b.length || a.length == 0) {
      throw new IllegalArgumentException(
          "vectors of equal, positive length are needed; found " + a.length + " and " + b.length);
    }
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }
}
