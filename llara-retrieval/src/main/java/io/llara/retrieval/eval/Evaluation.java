package io.llara.retrieval.eval;

import com.google.common.primitives.ImmutableDoubleArray;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A run measured against judgements. Every query that was judged counts, with 0 if the run has
 * nothing for it; queries that were not judged do not count. Immutable.
 */
public final class Evaluation {
  private final Run run;
  private final List<String> queryIds;
  private final Map<Metric, ImmutableDoubleArray> values = new LinkedHashMap<>();

  private Evaluation(Run run, List<String> queryIds) {
    this.run = run;
    this.queryIds = queryIds;
  }

  /** Measures a run. */
  public static Evaluation of(Run run, Qrels qrels, List<Metric> metrics) {
    Evaluation evaluation = new Evaluation(run, List.copyOf(qrels.queryIds()));
    for (Metric metric : metrics) {
      evaluation.values.put(
          metric,
          ImmutableDoubleArray.copyOf(
              evaluation.queryIds.stream()
                  .mapToDouble(query -> metric.of(run.ranking(query), qrels.grades(query)))));
    }
    return evaluation;
  }

  /** Returns the name of the run. */
  public String name() {
    return run.name();
  }

  /** Returns the run. */
  public Run run() {
    return run;
  }

  /** Returns the judged queries. */
  public List<String> queryIds() {
    return queryIds;
  }

  /** Returns what was measured. */
  public List<Metric> metrics() {
    return List.copyOf(values.keySet());
  }

  /**
   * Returns a metric's value for each judged query, in the order of {@link #queryIds}.
   *
   * @throws IllegalArgumentException if it was not measured
   */
  public ImmutableDoubleArray values(Metric metric) {
    ImmutableDoubleArray measured = values.get(metric);
    if (measured == null) {
      throw new IllegalArgumentException(
          "%s was not measured, only %s"
              .formatted(metric.label(), metrics().stream().map(Metric::label).toList()));
    }
    return measured;
  }

  /** Returns the means of all that was measured, in its order. */
  public Map<Metric, Double> means() {
    Map<Metric, Double> means = new LinkedHashMap<>();
    values.keySet().forEach(metric -> means.put(metric, mean(metric)));
    return means;
  }

  /**
   * Returns a metric's mean over all judged queries; 0 if there are none.
   *
   * @throws IllegalArgumentException if it was not measured
   */
  public double mean(Metric metric) {
    ImmutableDoubleArray measured = values(metric);
    return measured.isEmpty() ? 0 : measured.stream().sum() / measured.length();
  }
}
