package io.llara.retrieval.eval;

import com.google.common.primitives.ImmutableDoubleArray;
import java.util.Arrays;
import java.util.Optional;
import java.util.SplittableRandom;
import org.apache.commons.statistics.inference.TTest;

/**
 * Whether two runs differ by more than chance, judged by their values for the same queries. Both
 * tests are two-sided; their null hypothesis is that the difference is 0 on average. If all
 * differences are 0, both give 1.
 *
 * @param queries how many queries, at least 2
 * @param meanDifference the mean of first minus second
 * @param t Student's t of the differences; 0 if all of them are 0, infinite if all are equal
 * @param pValue the p-value of the paired t-test
 * @param randomisationPValue the p-value of Fisher's randomisation test (Smucker, Allan and
 *     Carterette, "A Comparison of Statistical Significance Tests for Information Retrieval
 *     Evaluation", CIKM 2007), from 10,000 random changes of the differences' signs: at least
 *     1/10,001. It needs no normal distribution
 */
public record PairedTest(
    int queries, double meanDifference, double t, double pValue, double randomisationPValue) {
  private static final int PERMUTATIONS = 10_000;
  private static final long SEED = 20;

  /** Sums of the same numbers in another order differ by their rounding. */
  private static final double ROUNDING = 1e-12;

  /**
   * Tests two runs, measured on the same queries.
   *
   * @return nothing if there are fewer than two queries
   * @throws IllegalArgumentException if the queries differ, or the metric was not measured
   */
  public static Optional<PairedTest> of(Evaluation first, Evaluation second, Metric metric) {
    if (!first.queryIds().equals(second.queryIds())) {
      throw new IllegalArgumentException("the runs were measured on different queries");
    }
    return of(first.values(metric), second.values(metric));
  }

  /**
   * Tests two lists of values, of the same queries in the same order. The same values always give
   * the same result.
   *
   * @return nothing if there are fewer than two
   * @throws IllegalArgumentException if their lengths differ
   */
  public static Optional<PairedTest> of(ImmutableDoubleArray first, ImmutableDoubleArray second) {
    if (first.length() != second.length()) {
      throw new IllegalArgumentException(
          "%d values are to be paired with %d".formatted(first.length(), second.length()));
    }
    int queries = first.length();
    if (queries < 2) {
      return Optional.empty();
    }
    double[] differences = new double[queries];
    Arrays.setAll(differences, i -> first.get(i) - second.get(i));
    double mean = Arrays.stream(differences).sum() / queries;
    if (Arrays.stream(differences).allMatch(difference -> difference == 0)) {
      return Optional.of(new PairedTest(queries, 0, 0, 1, 1));
    }
    TTest.Result test = TTest.withDefaults().test(differences);
    return Optional.of(
        new PairedTest(
            queries, mean, test.getStatistic(), test.getPValue(), randomisation(differences)));
  }

  private static double randomisation(double[] differences) {
    SplittableRandom random = new SplittableRandom(SEED);
    double seen = Math.abs(Arrays.stream(differences).sum()) * (1 - ROUNDING);
    int asLarge = 0;
    for (int i = 0; i < PERMUTATIONS; i++) {
      if (Math.abs(sumWithRandomSigns(differences, random)) >= seen) {
        asLarge++;
      }
    }
    // What was seen is one of the possible outcomes.
    return (asLarge + 1.0) / (PERMUTATIONS + 1.0);
  }

  private static double sumWithRandomSigns(double[] differences, SplittableRandom random) {
    double sum = 0;
    long signs = 0;
    for (int i = 0; i < differences.length; i++) {
      if (i % Long.SIZE == 0) {
        signs = random.nextLong();
      }
      sum += (signs & 1) == 0 ? differences[i] : -differences[i];
      signs >>>= 1;
    }
    return sum;
  }
}
