package io.llara;

/** What becomes of texts of a stream that are empty or nothing but white space. */
public enum BlankTexts {
  /** The first one ends the work with an {@link IllegalArgumentException}. */
  REFUSE,
  /** They get no embedding: the sink does not hear of them, and their indices are left out. */
  SKIP,
  /** They get an embedding of zeros, which has no direction: its inner product with any is 0. */
  ZERO
}
