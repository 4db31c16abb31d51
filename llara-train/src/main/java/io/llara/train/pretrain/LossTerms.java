package io.llara.train.pretrain;

/**
 * Sums over examples that make up a loss, before they are divided by their counts.
 *
 * @param tokens labelled tokens, or the sum of their cross-entropies
 * @param self SELF bags that are not empty, or the sum of their losses
 * @param next NEXT bags that are not empty, or the sum of their losses
 */
record LossTerms(double tokens, double self, double next) {
  static final LossTerms ZERO = new LossTerms(0, 0, 0);

  LossTerms plus(LossTerms other) {
    return new LossTerms(tokens + other.tokens, self + other.self, next + other.next);
  }

  double[] toArray() {
    return new double[] {tokens, self, next};
  }

  static LossTerms of(double[] values) {
    return new LossTerms(values[0], values[1], values[2]);
  }
}
