package io.llara.benchmarks;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.DoubleSupplier;

/** Times work. */
final class Stopwatch {
  private Stopwatch() {}

  /** Returns the seconds that work takes once. */
  static double seconds(Runnable work) {
    long begin = System.nanoTime();
    work.run();
    return (System.nanoTime() - begin) / 1e9;
  }

  /**
   * Repeats work that tells its seconds until they sum up to {@code least}, and returns their mean.
   */
  static double mean(double least, DoubleSupplier work) {
    double sum = 0;
    int count = 0;
    do {
      sum += work.getAsDouble();
      count++;
    } while (sum < least);
    return sum / count;
  }

  /** The median of several values, and how far they lie apart. */
  record Spread(double median, double min, double max) {
    static Spread of(List<Double> values) {
      double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
      int middle = sorted.length / 2;
      double median =
          sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
      return new Spread(median, sorted[0], Arrays.stream(sorted).max().orElseThrow());
    }

    @Override
    public String toString() {
      return String.format(Locale.ROOT, "%.3f (%.3f–%.3f)", median, min, max);
    }
  }
}
