package io.llara.examples.golden;

import io.llara.ComputeType;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Compares the quantities of one case with what is expected of a compute type. In float32 every
 * quantity has a tolerance. In bfloat16 unit embeddings are judged by their cosine, other numbers
 * only shown. What no rounding touches (ids, positions, visibility) must be equal in both.
 */
final class Judge {
  private final ComputeType computeType;
  private final List<Measure> measures = new ArrayList<>();

  Judge(ComputeType computeType) {
    this.computeType = computeType;
  }

  CaseReport report() {
    return CaseReport.of(measures);
  }

  /** Compares numbers of the forward pass, element by element. */
  void numbers(String quantity, float[] actual, double[] expected, double tolerance) {
    Difference difference = Difference.of(actual, expected);
    if (computeType == ComputeType.FLOAT32 || !difference.finite()) {
      add(quantity, difference, tolerance);
    } else {
      measures.add(
          new Measure(
              quantity, Optional.of(difference), "not judged in bfloat16", 0, Verdict.NOT_JUDGED));
    }
  }

  /** Compares vectors of length 1, {@code [rows, dimension]} row-major. */
  void unitVectors(String quantity, float[] actual, double[] expected, int dimension) {
    Difference difference = Difference.of(actual, expected);
    if (computeType == ComputeType.FLOAT32) {
      add(quantity, difference, Tolerances.UNIT_EMBEDDING);
      return;
    }
    double cosine = 1;
    for (int row = 0; row < actual.length; row += dimension) {
      cosine = Math.min(cosine, cosine(actual, expected, row, dimension));
    }
    measures.add(
        new Measure(
            quantity,
            Optional.of(difference),
            String.format(
                Locale.ROOT, "cosine %.6f, at least %s", cosine, Tolerances.BFLOAT16_COSINE),
            (1 - cosine) / (1 - Tolerances.BFLOAT16_COSINE),
            cosine >= Tolerances.BFLOAT16_COSINE ? Verdict.PASS : Verdict.FAIL));
  }

  /** Compares numbers that do not depend on the compute type. */
  void exactNumbers(String quantity, double[] actual, double[] expected, double tolerance) {
    add(quantity, Difference.of(actual, expected), tolerance);
  }

  /** Records whether something that has no tolerance is equal. */
  void equal(String quantity, boolean equal) {
    measures.add(
        new Measure(
            quantity,
            Optional.empty(),
            equal ? "equal" : "not equal",
            equal ? 0 : Double.POSITIVE_INFINITY,
            equal ? Verdict.PASS : Verdict.FAIL));
  }

  private void add(String quantity, Difference difference, double tolerance) {
    // So that a difference that is no number fails.
    boolean within = difference.absolute() <= tolerance;
    measures.add(
        new Measure(
            quantity,
            Optional.of(difference),
            String.format(Locale.ROOT, "tolerance %.1e", tolerance),
            difference.absolute() / tolerance,
            within ? Verdict.PASS : Verdict.FAIL));
  }

  private static double cosine(float[] actual, double[] expected, int begin, int dimension) {
    double dot = 0;
    double actualSquares = 0;
    double expectedSquares = 0;
    for (int i = begin; i < begin + dimension; i++) {
      dot += actual[i] * expected[i];
      actualSquares += (double) actual[i] * actual[i];
      expectedSquares += expected[i] * expected[i];
    }
    return dot / Math.sqrt(actualSquares * expectedSquares);
  }
}
