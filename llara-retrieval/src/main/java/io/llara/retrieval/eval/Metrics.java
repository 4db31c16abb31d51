package io.llara.retrieval.eval;

import com.google.common.primitives.Ints;
import java.util.Arrays;

/**
 * The equations of {@link Metric}. {@code found} has the grades of what was found, best first, 0
 * for documents that were not judged; {@code judged} all grades of the query, in any order.
 */
final class Metrics {
  private static final double LOG_2 = Math.log(2);

  private Metrics() {}

  static double ndcg(int[] found, int[] judged, int cutoff) {
    int[] ideal = judged.clone();
    Arrays.sort(ideal);
    Ints.reverse(ideal);
    double best = discountedGain(ideal, cutoff);
    return best == 0 ? 0 : discountedGain(found, cutoff) / best;
  }

  private static double discountedGain(int[] grades, int cutoff) {
    double sum = 0;
    for (int i = 0; i < Math.min(grades.length, cutoff); i++) {
      if (grades[i] > 0) {
        sum += grades[i] * LOG_2 / Math.log(i + 2);
      }
    }
    return sum;
  }

  static double averagePrecision(int[] found, int[] judged) {
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

  static double recall(int[] found, int[] judged, int cutoff) {
    int all = relevant(judged, judged.length);
    return all == 0 ? 0 : (double) relevant(found, cutoff) / all;
  }

  static double precision(int[] found, int cutoff) {
    return (double) relevant(found, cutoff) / cutoff;
  }

  static double reciprocalRank(int[] found, int cutoff) {
    for (int i = 0; i < Math.min(found.length, cutoff); i++) {
      if (isRelevant(found[i])) {
        return 1.0 / (i + 1);
      }
    }
    return 0;
  }

  private static int relevant(int[] grades, int cutoff) {
    return (int) Arrays.stream(grades).limit(cutoff).filter(Metrics::isRelevant).count();
  }

  private static boolean isRelevant(int grade) {
    return grade > 0;
  }
}
