package io.llara.train.pretrain;

import io.llara.train.run.LossTerms;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** How the terms of a recipe make up its loss, given the counts of the whole batch. */
record LossFormula(Recipe recipe, LossWeights weights) {
  /** The next-token term. */
  static final int TOKENS = 0;

  /** The term of the SELF embedding. */
  static final int SELF = 1;

  /** The term of the NEXT embedding. */
  static final int NEXT = 2;

  /** The names of the loss and its terms. */
  static final List<String> NAMES = List.of("loss", "ar_loss", "self_loss", "next_loss");

  /**
   * Returns the derivative of the loss by the sum of each term: what one token's or bag's loss adds
   * to the whole.
   */
  double[] scales(double[] counts) {
    double share = share(counts) / recipe.divisor();
    return new double[] {
      per(counts[TOKENS], weights.token()),
      per(counts[SELF], weights.self() * share),
      per(counts[NEXT], weights.next() * share)
    };
  }

  private static double per(double count, double weight) {
    return count == 0 ? 0 : weight / count;
  }

  /** Returns the loss and its terms by name; those that nothing in the batch had are left out. */
  Map<String, Double> terms(LossTerms loss) {
    double[] values = {
      loss.mean(TOKENS), loss.mean(SELF) / recipe.divisor(), loss.mean(NEXT) / recipe.divisor()
    };
    double[] weighted = new double[values.length];
    Map<String, Double> terms = new LinkedHashMap<>();
    terms.put(NAMES.get(0), 0.0); // The first in order.
    for (int term = 0; term < values.length; term++) {
      if (isPresent(term, loss.counts())) {
        weighted[term] = weight(term) * values[term];
        terms.put(NAMES.get(term + 1), values[term]);
      }
    }
    terms.put(
        NAMES.get(0), weighted[TOKENS] + share(loss.counts()) * (weighted[SELF] + weighted[NEXT]));
    return terms;
  }

  /** Half the sum of both embedding terms, or all of the one that is there. */
  private double share(double[] counts) {
    return recipe == Recipe.RELEASED && isPresent(SELF, counts) && isPresent(NEXT, counts)
        ? 0.5
        : 1;
  }

  private boolean isPresent(int term, double[] counts) {
    return counts[term] > 0 && weight(term) > 0;
  }

  private double weight(int term) {
    return switch (term) {
      case TOKENS -> weights.token();
      case SELF -> weights.self();
      default -> weights.next();
    };
  }
}
