package io.llara.train.pretrain;

/** How the terms of a recipe make up its loss, given the counts of the whole batch. */
record LossFormula(Recipe recipe, LossWeights weights) {

  /** The loss and its terms; NaN where nothing in the batch had such a term. */
  record Values(double loss, double tokens, double self, double next) {}

  /**
   * Returns the derivative of the loss by each of the three sums: what one token's or bag's loss
   * adds to the whole.
   */
  LossTerms scales(LossTerms counts) {
    double share = share(counts) / recipe.divisor();
    return new LossTerms(
        per(counts.tokens(), weights.token()),
        per(counts.self(), weights.self() * share),
        per(counts.next(), weights.next() * share));
  }

  Values values(LossTerms sums, LossTerms counts) {
    double tokens = mean(sums.tokens(), counts.tokens(), weights.token());
    double self = mean(sums.self(), counts.self(), weights.self()) / recipe.divisor();
    double next = mean(sums.next(), counts.next(), weights.next()) / recipe.divisor();
    double embeddings =
        weighed(self, counts.self(), weights.self()) + weighed(next, counts.next(), weights.next());
    return new Values(
        weighed(tokens, counts.tokens(), weights.token()) + share(counts) * embeddings,
        tokens,
        self,
        next);
  }

  /** Half the sum of both embedding terms, or all of the one that is there. */
  private double share(LossTerms counts) {
    boolean both = present(counts.self(), weights.self()) && present(counts.next(), weights.next());
    return recipe == Recipe.RELEASED && both ? 0.5 : 1;
  }

  private static double per(double count, double weight) {
    return count == 0 ? 0 : weight / count;
  }

  private static double mean(double sum, double count, double weight) {
    return present(count, weight) ? sum / count : Double.NaN;
  }

  /** A term that is not there adds nothing; one that came out as no number shows in the loss. */
  private static double weighed(double term, double count, double weight) {
    return present(count, weight) ? weight * term : 0;
  }

  private static boolean present(double count, double weight) {
    return count > 0 && weight > 0;
  }
}
