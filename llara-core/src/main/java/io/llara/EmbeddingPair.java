package io.llara;

import java.util.Arrays;

/**
 * Both embeddings of one text, from one forward pass over the joint prompt.
 *
 * @param self the embedding of {@link Mode#SELF}, {@code [dimension]}
 * @param next the embedding of {@link Mode#NEXT}, {@code [dimension]}
 */
public record EmbeddingPair(float[] self, float[] next) {

  /** Returns the embedding of a mode. */
  public float[] get(Mode mode) {
    return mode == Mode.SELF ? self : next;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof EmbeddingPair pair
        && Arrays.equals(self, pair.self)
        && Arrays.equals(next, pair.next);
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(self) + Arrays.hashCode(next);
  }

  @Override
  public String toString() {
    return "EmbeddingPair[dimension=" + self.length + "]";
  }
}
