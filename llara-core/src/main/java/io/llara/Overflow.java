package io.llara;

/** What an encoder does with a text that does not fit into its maximum number of tokens. */
public enum Overflow {
  /**
   * The text is cut at its end, never the prompt around it; the cut is counted in {@link
   * EncoderStatistics}.
   */
  TRUNCATE,
  /** The text is refused with a {@link TokenizationException}. */
  REFUSE
}
