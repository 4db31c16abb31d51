package io.llara.retrieval;

/**
 * The two parameters of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25
 * and Beyond", 2009).
 *
 * @param k1 how slowly a repeated word stops to count; 0 or more
 * @param b how much a document's length counts, 0 to 1
 */
public record Bm25Options(float k1, float b) {
  /** k1 0.9 and b 0.4, as the baselines of BEIR and MS MARCO have them. */
  public static final Bm25Options DEFAULT = new Bm25Options(0.9f, 0.4f);

  /** Checks the ranges. */
  public Bm25Options {
    if (!Float.isFinite(k1) || k1 < 0) {
      throw new IllegalArgumentException("k1 is " + k1 + "; expected 0 or more");
    }
    if (!(b >= 0 && b <= 1)) {
      throw new IllegalArgumentException("b is " + b + "; expected 0 to 1");
    }
  }
}
