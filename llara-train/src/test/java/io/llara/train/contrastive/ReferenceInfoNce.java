package io.llara.train.contrastive;

/** The loss by its definition, in float64. */
final class ReferenceInfoNce {
  private ReferenceInfoNce() {}

  /** Returns the mean loss of queries, the positive of each at its number times {@code group}. */
  static double loss(
      double[][] queries, double[][] passages, int group, double temperature, boolean normalized) {
    double sum = 0;
    for (int i = 0; i < queries.length; i++) {
      double[] exponents = new double[passages.length];
      double largest = Double.NEGATIVE_INFINITY;
      for (int j = 0; j < passages.length; j++) {
        double score = dot(queries[i], passages[j]);
        if (normalized) {
          score /= Math.sqrt(dot(queries[i], queries[i]) * dot(passages[j], passages[j]));
        }
        exponents[j] = score / temperature;
        largest = Math.max(largest, exponents[j]);
      }
      double total = 0;
      for (double exponent : exponents) {
        total += Math.exp(exponent - largest);
      }
      sum += largest + Math.log(total) - exponents[i * group];
    }
    return sum / queries.length;
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }
}
