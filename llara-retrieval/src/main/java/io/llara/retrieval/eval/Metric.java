package io.llara.retrieval.eval;

import com.google.common.primitives.Ints;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * A measure of a ranking against the judgements of its query, with its cutoff. The numbers are
 * those of NIST's trec_eval 9 with its option {@code -c}:
 *
 * <ul>
 *   <li>A document with a grade of 1 or more, or of {@code relevanceLevel} or more (trec_eval's
 *       {@code -l}), is relevant; one without a grade is not, nor is one with a negative grade.
 *   <li>nDCG ({@code ndcg_cut}): the gain of a document is its grade, divided by {@code log2(rank +
 *       1)}; negative grades gain nothing; the ideal ranking has all judged documents by falling
 *       grade. The relevance level does not matter here.
 *   <li>MAP ({@code map}) sums the precision at each relevant document that was found, however far
 *       down, and divides by the number of all relevant ones.
 *   <li>Recall ({@code recall}) and precision ({@code P}) at a cutoff; the latter divides by the
 *       cutoff even if fewer were found.
 *   <li>MRR ({@code recip_rank} with {@code -M} the cutoff): one divided by the rank of the first
 *       relevant document, 0 if there is none within the cutoff.
 *   <li>All are 0 for a query that has no relevant document, or for which nothing was found.
 * </ul>
 *
 * @param measure what is measured
 * @param cutoff how many documents are looked at; 0 for {@link Measure#MAP}, which looks at all
 * @param relevanceLevel the least grade of a relevant document; 1 for {@link Measure#NDCG}
 */
public record Metric(Measure measure, int cutoff, int relevanceLevel) {
  /** The relevance level that is usual. */
  public static final int DEFAULT_RELEVANCE_LEVEL = 1;

  private static final double LOG_2 = Math.log(2);

  /** What is measured. */
  public enum Measure {
    /** Normalised discounted cumulative gain. */
    NDCG("ndcg"),
    /** Mean average precision. */
    MAP("map"),
    /** The part of the relevant documents that was found. */
    RECALL("recall"),
    /** Mean reciprocal rank. */
    MRR("mrr"),
    /** The part of what was found that is relevant. */
    PRECISION("p");

    private final String word;

    Measure(String word) {
      this.word = word;
    }
  }

  /** Checks cutoff and level. */
  public Metric {
    if (relevanceLevel < 1 || measure == Measure.NDCG && relevanceLevel > 1) {
      throw new IllegalArgumentException(
          "the relevance level of %s is %d; expected %s"
              .formatted(measure, relevanceLevel, measure == Measure.NDCG ? "1" : "1 or more"));
    }
    if (measure == Measure.MAP ? cutoff != 0 : cutoff < 1) {
      throw new IllegalArgumentException(
          "the cutoff of %s is %d; expected %s"
              .formatted(measure, cutoff, measure == Measure.MAP ? "0" : "1 or more"));
    }
  }

  /** Describes a measure at the usual relevance level. */
  public Metric(Measure measure, int cutoff) {
    this(measure, cutoff, DEFAULT_RELEVANCE_LEVEL);
  }

  /** Returns nDCG at a cutoff. */
  public static Metric ndcg(int cutoff) {
    return new Metric(Measure.NDCG, cutoff);
  }

  /** Returns MAP. */
  public static Metric map() {
    return new Metric(Measure.MAP, 0);
  }

  /** Returns recall at a cutoff. */
  public static Metric recall(int cutoff) {
    return new Metric(Measure.RECALL, cutoff);
  }

  /** Returns MRR at a cutoff. */
  public static Metric mrr(int cutoff) {
    return new Metric(Measure.MRR, cutoff);
  }

  /** Returns precision at a cutoff. */
  public static Metric precision(int cutoff) {
    return new Metric(Measure.PRECISION, cutoff);
  }

  /** Returns all measures: nDCG at each cutoff, MAP, recall, MRR and precision at each. */
  public static List<Metric> all(List<Integer> cutoffs) {
    List<Metric> metrics = new ArrayList<>();
    cutoffs.forEach(k -> metrics.add(ndcg(k)));
    metrics.add(map());
    cutoffs.forEach(k -> metrics.add(recall(k)));
    cutoffs.forEach(k -> metrics.add(mrr(k)));
    cutoffs.forEach(k -> metrics.add(precision(k)));
    return List.copyOf(metrics);
  }

  /**
   * Returns the same at another relevance level; nDCG is the same at each.
   *
   * @throws IllegalArgumentException if the level is below 1
   */
  public Metric atLevel(int level) {
    return measure == Measure.NDCG ? this : new Metric(measure, cutoff, level);
  }

  /** Returns the name in tables and files: {@code ndcg@10}, {@code map}. */
  public String label() {
    return cutoff == 0 ? measure.word : measure.word + "@" + cutoff;
  }

  /**
   * Returns the value for one query.
   *
   * @param ranking what was found
   * @param grades the grades of the judged documents
   */
  public double of(Ranking ranking, Map<String, Integer> grades) {
    // Best first, 0 for documents that were not judged.
    int[] found =
        ranking.documents().stream()
            .mapToInt(document -> grades.getOrDefault(document.id(), 0))
            .toArray();
    int[] judged = grades.values().stream().mapToInt(Integer::intValue).toArray();
    return switch (measure) {
      case NDCG -> ndcg(found, judged);
      case MAP -> averagePrecision(found, judged);
      case RECALL -> recall(found, judged);
      case MRR -> reciprocalRank(found);
      case PRECISION -> precision(found);
    };
  }

  private double ndcg(int[] found, int[] judged) {
    int[] ideal = judged.clone();
    Arrays.sort(ideal);
    Ints.reverse(ideal);
    double best = discountedGain(ideal);
    return best == 0 ? 0 : discountedGain(found) / best;
  }

  private double discountedGain(int[] grades) {
    double sum = 0;
    for (int i = 0; i < Math.min(grades.length, cutoff); i++) {
      if (grades[i] > 0) {
        sum += grades[i] * LOG_2 / Math.log(i + 2);
      }
    }
    return sum;
  }

  private double averagePrecision(int[] found, int[] judged) {
    double sum = 0;
    int relevant = 0;
    for (int i = 0; i < found.length; i++) {
      if (isRelevant(found[i])) {
        relevant++;
        sum += (double) relevant / (i + 1);
      }
    }
    int all = relevant(judged, judged.length);
    return all == 0 ? 0 : sum / all;
  }

  private double recall(int[] found, int[] judged) {
    int all = relevant(judged, judged.length);
    return all == 0 ? 0 : (double) relevant(found, cutoff) / all;
  }

  private double precision(int[] found) {
    return (double) relevant(found, cutoff) / cutoff;
  }

  private double reciprocalRank(int[] found) {
    for (int i = 0; i < Math.min(found.length, cutoff); i++) {
      if (isRelevant(found[i])) {
        return 1.0 / (i + 1);
      }
    }
    return 0;
  }

  private int relevant(int[] grades, int cutoff) {
    return (int) Arrays.stream(grades).limit(cutoff).filter(this::isRelevant).count();
  }

  private boolean isRelevant(int grade) {
    return grade >= relevanceLevel;
  }
}
