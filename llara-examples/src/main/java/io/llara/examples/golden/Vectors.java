package io.llara.examples.golden;

import java.util.List;

/** Small arithmetic of vectors that the engine hands out. */
final class Vectors {
  private Vectors() {}

  /** Returns the vectors one after another. */
  static float[] concatenate(List<float[]> vectors) {
    float[] all = new float[vectors.stream().mapToInt(vector -> vector.length).sum()];
    int to = 0;
    for (float[] vector : vectors) {
      System.arraycopy(vector, 0, all, to, vector.length);
      to += vector.length;
    }
    return all;
  }

  /** Returns the same numbers, wider. */
  static double[] doubles(float[] vector) {
    double[] doubles = new double[vector.length];
    for (int i = 0; i < doubles.length; i++) {
      doubles[i] = vector[i];
    }
    return doubles;
  }

  /** Returns the vector scaled to length 1; not a number where its length is 0. */
  static float[] unit(float[] vector) {
    double squares = 0;
    for (float value : vector) {
      squares += (double) value * value;
    }
    double scale = 1 / Math.sqrt(squares);
    float[] unit = new float[vector.length];
    for (int i = 0; i < unit.length; i++) {
      unit[i] = (float) (vector[i] * scale);
    }
    return unit;
  }
}
