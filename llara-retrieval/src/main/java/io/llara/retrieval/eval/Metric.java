package io.llara.retrieval.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A measure of a ranking against the judgements of its query, with its cutoff. The numbers are
 * those of NIST's trec_eval 9 with its option {@code -c}:
 *
 * <ul>
 *   <li>A document with a grade of 1 or more is relevant; one without a grade is not, nor is one
 *       with a negative grade.
 *   <li>nDCG ({@code ndcg_cut}): the gain of a document is its grade, divided by {@code log2(rank +
 *       1)}; negative grades gain nothing; the ideal ranking has all judged documents by falling
 *       grade.
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
 */
public record Metric(Measure measure, int cutoff) {

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

  /** Checks the cutoff. */
  public Metric {
    if (measure == Measure.MAP ? cutoff != 0 : cutoff < 1) {
      throw new IllegalArgumentException(
          "the cutoff of %s is %d; expected %s"
              .formatted(measure, cutoff, measure == Measure.MAP ? "0" : "1 or more"));
    }
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
    int[] found =
        ranking.documents().stream()
            .mapToInt(document -> grades.getOrDefault(document.id(), 0))
            .toArray();
    int[] judged = grades.values().stream().mapToInt(Integer::intValue).toArray();
    return switch (measure) {
      case NDCG -> Metrics.ndcg(found, judged, cutoff);
      case MAP -> Metrics.averagePrecision(found, judged);
      case RECALL -> Metrics.recall(found, judged, cutoff);
      case MRR -> Metrics.reciprocalRank(found, cutoff);
      case PRECISION -> Metrics.precision(found, cutoff);
    };
  }
}
