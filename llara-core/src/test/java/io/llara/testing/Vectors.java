package io.llara.testing;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.Similarity;
import java.util.List;

/** What tests expect of vectors. */
public final class Vectors {
  /**
   * Batching, lanes and layouts change the order of float32 sums and nothing else: that costs about
   * 1e-7 of a cosine, while a wrong position, mask or row costs 1e-3 and more.
   */
  private static final double SAME = 0.999999;

  private Vectors() {}

  /** Fails unless both vectors are the same up to the rounding of float32. */
  public static void assertSame(float[] actual, float[] expected) {
    assertThat(Similarity.cosine(actual, expected)).isGreaterThanOrEqualTo(SAME);
    assertThat(length(actual) / length(expected)).isBetween(0.9999, 1.0001);
  }

  /** Fails unless the lists are of one size and their vectors pairwise the same. */
  public static void assertSame(List<float[]> actual, List<float[]> expected) {
    assertThat(actual).hasSameSizeAs(expected);
    for (int i = 0; i < actual.size(); i++) {
      assertSame(actual.get(i), expected.get(i));
    }
  }

  /** Fails unless the vector is of length 1, up to the rounding of its components. */
  public static void assertUnit(float[] vector) {
    assertThat(length(vector)).isBetween(1 - 1e-5, 1 + 1e-5);
  }

  /** Returns the Euclidean length. */
  public static double length(float[] vector) {
    return Math.sqrt(Similarity.dot(vector, vector));
  }
}
