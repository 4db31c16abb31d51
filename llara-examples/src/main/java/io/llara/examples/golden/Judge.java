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
  private final String remark;
  private final List<Measure> measures = new ArrayList<>();

  Judge(ComputeType computeType) {
    this(computeType, "");
  }

  /**
   * Begins with nothing compared.
   *
   * @param remark stands behind each tolerance
   */
  Judge(ComputeType computeType, String remark) {
    this.computeType = computeType;
    this.remark = remark;
  }

  CaseReport report() {
    return CaseReport.of(measures);
  }

  /** Compares numbers of the forward pass, element by element. */
  void numbers(String quantity, float[] actual, double[] expected, Tolerance tolerance) {
    Difference difference = Difference.of(actual, expected);
    if (computeType == ComputeType.FLOAT32 || !difference.finite()) {
      exactNumbers(quantity, Vectors.doubles(actual), expected, tolerance);
    } else {
      measures.add(
          new Measure(
              quantity, Optional.of(difference), "not judged in bfloat16", 0, Verdict.NOT_JUDGED));
    }
  }

  /** Compares vectors of length 1, {@code [rows, dimension]} row-major. */
  void unitVectors(String quantity, float[] actual, double[] expected, int dimension) {
    if (computeType == ComputeType.FLOAT32) {
      numbers(quantity, actual, expected, Tolerances.UNIT_EMBEDDING);
      return;
    }
    double cosine = 1;
    for (int row = 0; row < actual.length; row += dimension) {
      cosine = Math.min(cosine, cosine(actual, expected, row, dimension));
    }
    measures.add(
        new Measure(
            quantity,
            Optional.of(Difference.of(actual, expected)),
            String.format(
                Locale.ROOT, "cosine %.6f, at least %s", cosine, Tolerances.BFLOAT16_COSINE),
            (1 - cosine) / (1 - Tolerances.BFLOAT16_COSINE),
            cosine >= Tolerances.BFLOAT16_COSINE ? Verdict.PASS : Verdict.FAIL));
  }

  /** Compares numbers that do not depend on the compute type. */
  void exactNumbers(String quantity, double[] actual, double[] expected, Tolerance tolerance) {
    measures.add(tolerance.measure(quantity, actual, expected, remark));
  }

  /** Records whether something that has no tolerance is equal; returns it. */
  boolean equal(String quantity, boolean equal) {
    if (equal) {
      measures.add(new Measure(quantity, Optional.empty(), "equal", 0, Verdict.PASS));
    } else {
      unlike(quantity, "not equal");
    }
    return equal;
  }

  /** Records that something is not as it should be, and what is wrong with it. */
  void unlike(String quantity, String reason) {
    measures.add(
        new Measure(quantity, Optional.empty(), reason, Double.POSITIVE_INFINITY, Verdict.FAIL));
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
