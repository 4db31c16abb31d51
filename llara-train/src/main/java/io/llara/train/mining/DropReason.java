package io.llara.train.mining;

/**
 * Why a passage that a search found in the rank window does not become a negative. A passage is
 * counted under the first reason that holds, in this order.
 */
public enum DropReason {
  /** It is a known positive of the query, in whatever line of the pairs. */
  POSITIVE("known positives of the query"),
  /** It is the query itself. */
  QUERY("the query itself"),
  /** It has the same text as one that ranks higher. */
  DUPLICATE("the text of a passage that ranks higher"),
  /** It is a negative of the pair already, which is kept. */
  ALREADY_NEGATIVE("negatives that the pair has already"),
  /** Its score is below the least that is allowed. */
  BELOW_LEAST_SCORE("below the least score"),
  /** Its score is above the greatest that is allowed. */
  ABOVE_GREATEST_SCORE("above the greatest score"),
  /** Its score is too near to the positive's, or above it. */
  MARGIN("within the margin of the positive's score"),
  /** Its score is too near to the positive's by the relative margin, or above it. */
  RELATIVE_MARGIN("within the relative margin of the positive's score");

  private final String words;

  DropReason(String words) {
    this.words = words;
  }

  /** Returns what a summary calls the passages. */
  public String words() {
    return words;
  }
}
