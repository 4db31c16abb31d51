package io.llara.retrieval;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;
import io.llara.Internal;
import java.util.List;

/**
 * What a search found for a query, best first; of equal scores the smaller index comes first.
 * Immutable.
 *
 * @param indices places in the collection, documents without text not counted
 * @param scores the score of each
 */
public record Hits(ImmutableLongArray indices, ImmutableDoubleArray scores) {
  /** Nothing was found. */
  public static final Hits NONE = of(new long[0], new double[0]);

  /** Checks that both have the same length. */
  public Hits {
    if (indices.length() != scores.length()) {
      throw new IllegalArgumentException(
          "%d indices for %d scores".formatted(indices.length(), scores.length()));
    }
  }

  static Hits of(long[] indices, double[] scores) {
    return new Hits(ImmutableLongArray.copyOf(indices), ImmutableDoubleArray.copyOf(scores));
  }

  /** Fails unless so many hits can be asked for. */
  @Internal
  public static void requireCount(int k) {
    if (k < 1) {
      throw new IllegalArgumentException("k is " + k + "; expected 1 or more");
    }
  }

  /** Returns how many there are. */
  public int size() {
    return indices.length();
  }

  /** Returns the hits at some ranks, the best being 0, in the order of the list. */
  public Hits pick(List<Integer> ranks) {
    return of(
        ranks.stream().mapToLong(indices::get).toArray(),
        ranks.stream().mapToDouble(scores::get).toArray());
  }
}
