package io.llara.retrieval;

import java.util.Comparator;
import java.util.PriorityQueue;

/**
 * Keeps the best of many scores; of equal ones the smaller index. The order of offers does not
 * matter. Not thread-safe.
 */
final class TopHits {
  private static final Comparator<Hit> WORST_FIRST =
      Comparator.comparingDouble(Hit::score)
          .thenComparing(Comparator.comparingLong(Hit::index).reversed());

  private final int limit;
  private final PriorityQueue<Hit> kept = new PriorityQueue<>(WORST_FIRST);

  private record Hit(long index, double score) {}

  /** Keeps so many, at least 1. */
  TopHits(int limit) {
    this.limit = limit;
  }

  /** Returns the worst score that is kept, or negative infinity as long as any score is kept. */
  double floor() {
    return kept.size() < limit ? Double.NEGATIVE_INFINITY : kept.element().score();
  }

  /** Looks at a score, which is not NaN. */
  void offer(long index, double score) {
    if (score >= floor()) {
      // Minus zero is equal to zero.
      kept.add(new Hit(index, score + 0.0));
      if (kept.size() > limit) {
        kept.remove();
      }
    }
  }

  /** Returns what was kept, best first, and forgets it. */
  Hits drain() {
    long[] indices = new long[kept.size()];
    double[] scores = new double[kept.size()];
    for (int rank = kept.size() - 1; rank >= 0; rank--) {
      Hit worst = kept.remove();
      indices[rank] = worst.index();
      scores[rank] = worst.score();
    }
    return Hits.of(indices, scores);
  }
}
