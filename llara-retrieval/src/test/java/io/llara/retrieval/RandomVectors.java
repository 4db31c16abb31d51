package io.llara.retrieval;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Vectors made by a seed. */
final class RandomVectors {
  private RandomVectors() {}

  /** Returns normal random vectors. */
  static List<float[]> normal(int count, int dimension, long seed) {
    Random random = new Random(seed);
    List<float[]> vectors = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      float[] vector = new float[dimension];
      for (int j = 0; j < dimension; j++) {
        vector[j] = (float) random.nextGaussian();
      }
      vectors.add(vector);
    }
    return vectors;
  }

  /** Returns vectors of length about 1 around common centres. */
  static List<float[]> clustered(int count, int dimension, int clusters, long seed) {
    List<float[]> centres = normal(clusters, dimension, 4711);
    List<float[]> vectors = normal(count, dimension, seed);
    for (int i = 0; i < count; i++) {
      float[] vector = vectors.get(i);
      float[] centre = centres.get(i % clusters);
      double square = 0;
      for (int j = 0; j < dimension; j++) {
        vector[j] = centre[j] + 0.5f * vector[j];
        square += vector[j] * vector[j];
      }
      for (int j = 0; j < dimension; j++) {
        vector[j] /= (float) Math.sqrt(square);
      }
    }
    return vectors;
  }
}
