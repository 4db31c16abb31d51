package io.llara.retrieval;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;

/**
 * Keeps the best of many scores; of equal ones the smaller index. The order of offers does not
 * matter. Not thread-safe.
 */
final class TopHits {
  private final long[] indices;
  private final double[] scores;

  /** The first so many places are a heap with the worst on top. */
  private int size;

  /** Keeps so many, at least 1. */
  TopHits(int limit) {
    indices = new long[limit];
    scores = new double[limit];
  }

  boolean isFull() {
    return size == scores.length;
  }

  /** Returns the worst score that is kept. */
  double worst() {
    return scores[0];
  }

  /** Looks at a score, which is not NaN. */
  void offer(long index, double score) {
    if (!isFull()) {
      rise(size++, index, score);
    } else if (isWorse(indices[0], scores[0], index, score)) {
      sink(index, score);
    }
  }

  private static boolean isWorse(long index, double score, long otherIndex, double otherScore) {
    return score < otherScore || (score == otherScore && index > otherIndex);
  }

  private void rise(int place, long index, double score) {
    int child = place;
    while (child > 0) {
      int parent = (child - 1) / 2;
      if (!isWorse(index, score, indices[parent], scores[parent])) {
        break;
      }
      move(parent, child);
      child = parent;
    }
    indices[child] = index;
    scores[child] = score;
  }

  /** Puts a hit in the place of the worst. */
  private void sink(long index, double score) {
    int parent = 0;
    while (true) {
      int child = 2 * parent + 1;
      if (child >= size) {
        break;
      }
      int right = child + 1;
      if (right < size && isWorse(indices[right], scores[right], indices[child], scores[child])) {
        child = right;
      }
      if (!isWorse(indices[child], scores[child], index, score)) {
        break;
      }
      move(child, parent);
      parent = child;
    }
    indices[parent] = index;
    scores[parent] = score;
  }

  private void move(int from, int to) {
    indices[to] = indices[from];
    scores[to] = scores[from];
  }

  /** Returns what was kept, best first, and forgets it. */
  Hits drain() {
    int count = size;
    while (size > 1) {
      long worstIndex = indices[0];
      double worstScore = scores[0];
      size--;
      sink(indices[size], scores[size]);
      indices[size] = worstIndex;
      scores[size] = worstScore;
    }
    size = 0;
    ImmutableLongArray.Builder places = ImmutableLongArray.builder(count);
    ImmutableDoubleArray.Builder values = ImmutableDoubleArray.builder(count);
    for (int i = 0; i < count; i++) {
      places.add(indices[i]);
      values.add(scores[i]);
    }
    return new Hits(places.build(), values.build());
  }
}
