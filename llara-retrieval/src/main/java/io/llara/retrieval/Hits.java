package io.llara.retrieval;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;

/**
 * What a search found, best first; of equal scores the smaller index comes first. Immutable.
 *
 * @param indices places in the collection, documents without text not counted
 * @param scores the score of each
 */
public record Hits(ImmutableLongArray indices, ImmutableDoubleArray scores) {
  /** Checks that both have the same length. */
  public Hits {
    if (indices.length() != scores.length()) {
      throw new IllegalArgumentException(
          "%d indices for %d scores".formatted(indices.length(), scores.length()));
    }
  }

  /** Returns how many there are. */
  public int size() {
    return indices.length();
  }
}
