package io.llara.retrieval;

import com.google.common.primitives.ImmutableDoubleArray;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/**
 * How two rankings of the same collection become one.
 *
 * @param kind what is added up
 * @param weight the weight of the first ranking, from 0 to 1; the second has the rest
 */
public record Fusion(Kind kind, double weight) {
  /** Ranks count from 1 and are added to this (Cormack, Clarke and Büttcher, SIGIR 2009). */
  private static final int RANK_CONSTANT = 60;

  /** What is added up. */
  public enum Kind {
    /**
     * {@code 1 / (60 + rank)}, 0 for a document that was not found: reciprocal rank fusion, for
     * scores that cannot be compared.
     */
    RECIPROCAL_RANK,

    /**
     * Standard scores, {@code (score - mean) / deviation} over what the ranking found; a document
     * that it did not find is one deviation below its last hit, which counts as 0. They keep how
     * far the best are ahead.
     */
    Z_SCORE
  }

  /** Checks the weight. */
  public Fusion {
    if (!(weight >= 0 && weight <= 1)) {
      throw new IllegalArgumentException("the weight is " + weight + "; expected 0 to 1");
    }
  }

  /** Returns reciprocal rank fusion with equal weights. */
  public static Fusion reciprocalRank() {
    return new Fusion(Kind.RECIPROCAL_RANK, 0.5);
  }

  /** Returns the weighted sum of standard scores. */
  public static Fusion zScores(double weight) {
    return new Fusion(Kind.Z_SCORE, weight);
  }

  /**
   * Fuses two rankings of one query.
   *
   * @param k how many are kept; all if there are fewer
   */
  public Hits fuse(Hits first, Hits second, int k) {
    Map<Long, Double> scores = new LinkedHashMap<>();
    add(first, weight, scores);
    add(second, 1 - weight, scores);
    TopHits best = new TopHits(k);
    scores.forEach(best::offer);
    return best.drain();
  }

  private void add(Hits hits, double share, Map<Long, Double> scores) {
    double deviation = kind == Kind.Z_SCORE ? deviation(hits.scores()) : 0;
    for (int i = 0; i < hits.size(); i++) {
      double score =
          kind == Kind.RECIPROCAL_RANK
              ? 1.0 / (RANK_CONSTANT + i + 1)
              : standard(hits.scores(), i, deviation);
      scores.merge(hits.indices().get(i), share * score, Double::sum);
    }
  }

  /** Returns how far a hit is above what was not found. The mean cancels out. */
  private static double standard(ImmutableDoubleArray scores, int rank, double deviation) {
    double aboveLast = scores.get(rank) - scores.get(scores.length() - 1);
    return 1 + (deviation == 0 ? 0 : aboveLast / deviation);
  }

  private static double deviation(ImmutableDoubleArray scores) {
    double mean = scores.stream().average().orElse(0);
    return Math.sqrt(scores.stream().map(x -> (x - mean) * (x - mean)).average().orElse(0));
  }

  @Override
  public String toString() {
    String name =
        kind == Kind.RECIPROCAL_RANK
            ? "reciprocal rank fusion (constant %d)".formatted(RANK_CONSTANT)
            : "sum of z-scores";
    return String.format(Locale.ROOT, "%s, weights %.2f and %.2f", name, weight, 1 - weight);
  }
}
