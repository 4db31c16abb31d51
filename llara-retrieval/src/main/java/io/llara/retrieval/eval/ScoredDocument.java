package io.llara.retrieval.eval;

/**
 * A document that was found.
 *
 * @param id its id
 * @param score how well it fits; finite. A float, so that every version of trec_eval, whether it
 *     computes with floats or doubles, sees the same ties
 */
public record ScoredDocument(String id, float score) {
  /** Checks the score. */
  public ScoredDocument {
    if (!Float.isFinite(score)) {
      throw new IllegalArgumentException(
          "document '%s' has the score %s; expected a finite one".formatted(id, score));
    }
    // Minus zero is equal to zero.
    score += 0.0f;
  }
}
