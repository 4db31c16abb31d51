package io.llara.engine;

import io.llara.Mode;
import org.jspecify.annotations.Nullable;

/**
 * What a prompt was pooled to, not normalised. A vector is null where the prompt has no suffix of
 * that mode.
 *
 * @param self {@code [hidden]}
 * @param next {@code [hidden]}
 */
@SuppressWarnings("ArrayRecordComponent") // handed on at once, never compared
public record PooledVectors(float @Nullable [] self, float @Nullable [] next) {

  /**
   * Returns the vector of a mode.
   *
   * @throws IllegalArgumentException if the prompt has no suffix of that mode
   */
  public float[] get(Mode mode) {
    float[] vector = mode == Mode.SELF ? self : next;
    if (vector == null) {
      throw new IllegalArgumentException("the prompt has no " + mode + " suffix");
    }
    return vector;
  }
}
