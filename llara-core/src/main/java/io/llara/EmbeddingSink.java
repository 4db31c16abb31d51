package io.llara;

/**
 * Takes embeddings as they become ready, in the order of their texts, on the thread that called the
 * encoder.
 */
@FunctionalInterface
public interface EmbeddingSink {

  /**
   * Takes one embedding. An exception thrown here ends the encoding and reaches the caller.
   *
   * @param index the text's place in the stream, from 0
   * @param text the text
   * @param embedding {@code [dimension]}; the receiver may keep it
   */
  void accept(long index, String text, float[] embedding);
}
