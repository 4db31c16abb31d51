package io.llara.prompt;

/** Which hidden states of a prompt become its embedding. */
public enum Pooling {
  /**
   * The final hidden state of the prompt's last token: {@code </s>} in the paper (arXiv 2312.15503,
   * section 3.1), and in RepLLaMA and E5-Mistral.
   */
  LAST_TOKEN,
  /**
   * The mean of the final hidden states at the markers, the named tokens that end a suffix: {@code
   * <s1>…<s8>} and {@code <s9>…<s16>} in the released Llama2Vec checkpoints.
   */
  MEAN_OF_MARKERS,
  /**
   * The mean of the final hidden states of all tokens, with what is around the text: the mean of
   * the sentence-transformers library.
   */
  MEAN_OF_PROMPT,
  /** The mean of the final hidden states of the text's tokens alone. */
  MEAN_OF_TEXT
}
