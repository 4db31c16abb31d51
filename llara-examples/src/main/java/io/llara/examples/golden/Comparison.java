package io.llara.examples.golden;

import io.llara.ComputeType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Compares the quantities of one case with the float64 values of the reference. In float32 every
 * quantity has a tolerance. In bfloat16 and int8 unit embeddings are judged by their cosine, and
 * other quantities are only shown. What rounding does not touch (ids, positions, visibility) must
 * be equal in all.
 */
public final class Comparison {
  /**
   * The lowest cosine of a unit embedding in bfloat16. On small random models rounding alone costs
   * up to 0.002.
   */
  private static final double BFLOAT16_COSINE = 0.995;

  /** The same in int8, where rounding alone costs these models up to 0.006. */
  private static final double INT8_COSINE = 0.99;

  /** Of so many elements one may be beyond {@link Tolerance#most}. */
  private static final int ONE_IN = 1000;

  private final ComputeType computeType;
  private final String remark;
  private final List<Measure> measures = new ArrayList<>();

  /** The outcome for one quantity; what is not judged is shown, but has no limit. */
  private enum Verdict {
    PASS("pass"),
    FAIL("FAIL"),
    NOT_JUDGED("-   ");

    private final String word;

    Verdict(String word) {
      this.word = word;
    }
  }

  /**
   * How far one quantity of a case is from the reference.
   *
   * @param quantity its name in the golden file
   * @param difference how far its elements are; empty for what is equal or not, such as ids
   * @param criterion the limit, such as {@code tolerance 1.0e-05}
   * @param strain how near the limit it came: above 1 is beyond it, 0 where nothing is judged
   */
  private record Measure(
      String quantity,
      Optional<Difference> difference,
      String criterion,
      double strain,
      Verdict verdict) {
    @Override
    public String toString() {
      String numbers = difference.map(Difference::toString).orElse("");
      return "%s%s  (%s)".formatted(quantity, numbers, criterion);
    }
  }

  /**
   * How far elements are from the expected ones; NaN or infinite if an element is.
   *
   * @param absolute the largest absolute difference of an element
   * @param relative that difference divided by the largest magnitude of the expected elements
   */
  private record Difference(double absolute, double relative) {
    static Difference of(double[] actual, double[] expected) {
      if (actual.length != expected.length) {
        throw new IllegalArgumentException(
            "%d elements; expected %d".formatted(actual.length, expected.length));
      }
      double absolute = 0;
      double magnitude = 0;
      for (int i = 0; i < actual.length; i++) {
        // Math.max hands on a NaN.
        absolute = Math.max(absolute, Math.abs(actual[i] - expected[i]));
        magnitude = Math.max(magnitude, Math.abs(expected[i]));
      }
      return new Difference(absolute, absolute == 0 ? 0 : absolute / magnitude);
    }

    @Override
    public String toString() {
      return String.format(Locale.ROOT, "  abs %.1e  rel %.1e", absolute, relative);
    }
  }

  private Comparison(ComputeType computeType, String remark) {
    this.computeType = computeType;
    this.remark = remark;
  }

  static Comparison ofForward(ComputeType computeType) {
    return new Comparison(computeType, "");
  }

  /**
   * Returns a comparison of training, which is computed in float32 whatever the type.
   *
   * @param remark stands behind each tolerance
   */
  static Comparison ofTraining(ComputeType computeType, String remark) {
    return new Comparison(
        ComputeType.FLOAT32,
        remark + (computeType == ComputeType.FLOAT32 ? "" : "; computed in float32"));
  }

  /** Returns whether a quantity is beyond its tolerance. */
  public boolean failed() {
    return has(Verdict.FAIL);
  }

  /** Returns whether a quantity is beyond its tolerance or has none. */
  public boolean needsDetails() {
    return failed() || has(Verdict.NOT_JUDGED);
  }

  private boolean has(Verdict verdict) {
    return measures.stream().anyMatch(measure -> measure.verdict() == verdict);
  }

  /** Returns a line for each quantity, in the order of the comparison; none if there is but one. */
  public List<String> details() {
    return measures.size() == 1
        ? List.of()
        : measures.stream().map(one -> one.verdict().word + "  " + one).toList();
  }

  /** Returns the outcome and the quantity that came nearest to its limit, or went beyond it. */
  @Override
  public String toString() {
    // Failed, judged, not judged; then by strain; where nothing is judged, by the difference.
    return (failed() ? Verdict.FAIL : Verdict.PASS).word
        + measures.stream()
            .max(
                Comparator.comparing((Measure measure) -> measure.verdict() == Verdict.FAIL)
                    .thenComparing(measure -> measure.verdict() != Verdict.NOT_JUDGED)
                    .thenComparingDouble(Measure::strain)
                    .thenComparingDouble(
                        measure -> measure.difference().map(Difference::absolute).orElse(0.0)))
            .map(worst -> "  " + worst)
            .orElse("");
  }

  /** Compares what the compute type rounds, element by element. */
  void rounded(String quantity, float[] actual, double[] expected, Tolerance tolerance) {
    double[] widened = widen(actual);
    Difference difference = Difference.of(widened, expected);
    if (computeType == ComputeType.FLOAT32 || !Double.isFinite(difference.absolute())) {
      exact(quantity, widened, expected, tolerance);
    } else {
      add(
          quantity,
          Optional.of(difference),
          "not judged in " + computeType.name().toLowerCase(Locale.ROOT),
          0,
          Verdict.NOT_JUDGED);
    }
  }

  /** Compares the hidden states of real tokens, {@code [tokens, hidden]} row-major. */
  void hiddenStates(GoldenFile file, GoldenJson json, PaddedRows rows, float[] actual) {
    String key = "last_hidden_state";
    int hidden = actual.length / rows.realTokens();
    double[] expected =
        file.tensor(json.object("tensors"), key, rows.count(), rows.width(), hidden);
    rounded(key, actual, rows.realRows(expected, hidden), Tolerance.HIDDEN_STATE);
  }

  /** Compares vectors of length 1, {@code [rows, dimension]} row-major. */
  void unitVectors(String quantity, float[] actual, double[] expected, int dimension) {
    if (computeType == ComputeType.FLOAT32) {
      rounded(quantity, actual, expected, Tolerance.UNIT_EMBEDDING);
      return;
    }
    double[] widened = widen(actual);
    Difference difference = Difference.of(widened, expected);
    double cosine = 1;
    for (int row = 0; row < widened.length; row += dimension) {
      cosine =
          Math.min(
              cosine,
              cosine(
                  Arrays.copyOfRange(widened, row, row + dimension),
                  Arrays.copyOfRange(expected, row, row + dimension)));
    }
    double lowest = computeType == ComputeType.INT8 ? INT8_COSINE : BFLOAT16_COSINE;
    add(
        quantity,
        Optional.of(difference),
        String.format(Locale.ROOT, "cosine %.6f, at least %s", cosine, lowest),
        (1 - cosine) / (1 - lowest),
        cosine >= lowest ? Verdict.PASS : Verdict.FAIL);
  }

  /** Compares what does not depend on the compute type, element by element. */
  void exact(String quantity, double[] actual, double[] expected, Tolerance tolerance) {
    Difference difference = Difference.of(actual, expected);
    // Written so that NaN fails.
    boolean within = difference.absolute() <= tolerance.worst;
    double strain = difference.absolute() / tolerance.worst;
    String criterion = String.format(Locale.ROOT, "tolerance %.1e", tolerance.worst);
    if (tolerance.most < tolerance.worst) {
      long beyond =
          IntStream.range(0, actual.length)
              .filter(i -> !(Math.abs(actual[i] - expected[i]) <= tolerance.most))
              .count();
      // At least one: of fewer than a thousand, less cannot be forgiven.
      int allowed = Math.max(1, actual.length / ONE_IN);
      within &= beyond <= allowed;
      strain = Math.max(strain, (double) beyond / allowed);
      criterion +=
          String.format(
              Locale.ROOT,
              ", %.1e for 99.9 %%: %d of %d beyond it",
              tolerance.most,
              beyond,
              actual.length);
    }
    Verdict verdict = within ? Verdict.PASS : Verdict.FAIL;
    add(quantity, Optional.of(difference), criterion + remark, strain, verdict);
  }

  /** Records whether something that has no tolerance is equal; returns it. */
  boolean equal(String quantity, boolean equal) {
    if (equal) {
      add(quantity, Optional.empty(), "equal", 0, Verdict.PASS);
    } else {
      fail(quantity, "not equal");
    }
    return equal;
  }

  /** Records that something is wrong, and what. */
  void fail(String quantity, String reason) {
    add(quantity, Optional.empty(), reason, Double.POSITIVE_INFINITY, Verdict.FAIL);
  }

  private void add(
      String quantity,
      Optional<Difference> difference,
      String criterion,
      double strain,
      Verdict verdict) {
    measures.add(new Measure(quantity, difference, criterion, strain, verdict));
  }

  private static double[] widen(float[] values) {
    return IntStream.range(0, values.length).mapToDouble(i -> values[i]).toArray();
  }

  private static double cosine(double[] a, double[] b) {
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  }

  private static double dot(double[] a, double[] b) {
    return IntStream.range(0, a.length).mapToDouble(i -> a[i] * b[i]).sum();
  }
}
