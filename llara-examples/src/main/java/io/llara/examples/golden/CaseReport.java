package io.llara.examples.golden;

import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * The outcome of one case.
 *
 * @param covered whether the case was replayed at all
 * @param measures what was compared, in the order of the comparison
 */
public record CaseReport(boolean covered, List<Measure> measures) {
  /** Copies the list. */
  public CaseReport {
    measures = List.copyOf(measures);
  }

  static CaseReport notCovered() {
    return new CaseReport(false, List.of());
  }

  static CaseReport of(List<Measure> measures) {
    return new CaseReport(true, measures);
  }

  /** Returns whether a quantity is beyond its tolerance. */
  public boolean failed() {
    return measures.stream().anyMatch(measure -> measure.verdict() == Verdict.FAIL);
  }

  /** Returns the quantity that came nearest to its limit, or went furthest beyond it. */
  public Optional<Measure> worst() {
    // Failed, judged, not judged; then by strain; where nothing is judged, by the difference.
    return measures.stream()
        .max(
            Comparator.comparing((Measure measure) -> measure.verdict() == Verdict.FAIL)
                .thenComparing(measure -> measure.verdict() != Verdict.NOT_JUDGED)
                .thenComparingDouble(Measure::strain)
                .thenComparingDouble(
                    measure -> measure.difference().map(Difference::absolute).orElse(0.0)));
  }
}
