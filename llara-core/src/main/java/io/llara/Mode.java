package io.llara;

/**
 * Which of the two pretext tasks an embedding stands for (LLaRA, arXiv 2312.15503, section 3).
 *
 * <p>The mode is always given explicitly: a query embedded as a passage is a plausible, wrong
 * vector. A text is embedded for retrieval as a <em>passage</em> with {@link #SELF} and as a
 * <em>query</em> with {@link #NEXT}.
 */
public enum Mode {
  /**
   * EBAE, embedding-based auto-encoding: the embedding stands for the text itself. Used for
   * passages.
   */
  SELF,
  /**
   * EBAR, embedding-based auto-regression: the embedding stands for the text that follows. Used for
   * queries.
   */
  NEXT
}
