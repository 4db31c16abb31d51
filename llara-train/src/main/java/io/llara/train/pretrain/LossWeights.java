package io.llara.train.pretrain;

/**
 * How much each term counts: {@code loss = token · ar_loss + share · (self · self_loss + next ·
 * next_loss)}. {@code share} is 1/2 where the recipe is {@link Recipe#RELEASED} and both embedding
 * terms are there, else 1, and is divided by ten in that recipe. A term of weight 0 is not
 * computed.
 *
 * @param token the weight of the next-token term
 * @param self the weight of the SELF embedding's term (EBAE)
 * @param next the weight of the NEXT embedding's term (EBAR)
 */
public record LossWeights(double token, double self, double next) {
  /** Checks the values. */
  public LossWeights {
    require(token, "token");
    require(self, "self");
    require(next, "next");
    if (token == 0 && self == 0 && next == 0) {
      throw new IllegalArgumentException("one of the loss weights must be more than 0");
    }
  }

  private static void require(double weight, String name) {
    if (!(weight >= 0) || Double.isInfinite(weight)) {
      throw new IllegalArgumentException(
          "the loss weight %s must be 0 or more, not %s".formatted(name, weight));
    }
  }
}
