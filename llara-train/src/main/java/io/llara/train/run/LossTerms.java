package io.llara.train.run;

import io.llara.Internal;

/**
 * The terms of a loss over some examples, as they add up over lanes and processes.
 *
 * @param sums the sum of each term
 * @param counts how many tokens, embeddings or queries each sum is over
 */
@Internal
public record LossTerms(double[] sums, double[] counts) {

  /** Returns whether anything in the examples has a term. */
  public boolean has(int term) {
    return counts[term] > 0;
  }

  /** Returns the mean of a term. */
  public double mean(int term) {
    return sums[term] / counts[term];
  }
}
