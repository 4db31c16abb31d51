package io.llara.examples;

import io.llara.Similarity;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

/** Vectors that lie as embeddings do: along far fewer directions than they have components. */
final class Synthetic {
  static final int DIMENSION = 2048;
  private static final List<float[]> DIRECTIONS = gaussian(64, DIMENSION, 1);

  private Synthetic() {}

  /** Returns vectors of length 1. */
  static List<float[]> embeddings(int count, long seed) {
    List<float[]> vectors = new ArrayList<>();
    for (float[] weights : gaussian(count, DIRECTIONS.size(), seed)) {
      float[] sum = new float[DIMENSION];
      for (int d = 0; d < weights.length; d++) {
        for (int i = 0; i < DIMENSION; i++) {
          sum[i] += weights[d] * DIRECTIONS.get(d)[i];
        }
      }
      float length = (float) Math.sqrt(Similarity.dot(sum, sum));
      for (int i = 0; i < DIMENSION; i++) {
        sum[i] /= length;
      }
      vectors.add(sum);
    }
    return vectors;
  }

  private static List<float[]> gaussian(int count, int length, long seed) {
    Random random = new Random(seed);
    List<float[]> rows = new ArrayList<>();
    for (int row = 0; row < count; row++) {
      float[] values = new float[length];
      for (int i = 0; i < length; i++) {
        values[i] = (float) random.nextGaussian();
      }
      rows.add(values);
    }
    return rows;
  }

  /** Returns which of the {@code k} vectors nearest to a query are among those found, of 1. */
  static double recall(float[] query, List<float[]> vectors, int k, List<Integer> found) {
    List<Integer> exact =
        IntStream.range(0, vectors.size())
            .boxed()
            .sorted(Comparator.comparingDouble(i -> -Similarity.dot(query, vectors.get(i))))
            .limit(k)
            .toList();
    return found.stream().limit(k).filter(exact::contains).count() / (double) k;
  }
}
