package io.llara.retrieval;

import java.nio.FloatBuffer;
import java.util.List;

/** Vectors in memory. Immutable as long as nobody changes the arrays, which are not copied. */
public final class InMemoryVectors implements VectorSet {
  private final List<float[]> vectors;
  private final int dimension;

  /**
   * Creates a set.
   *
   * @param vectors all of one length; of no vectors the dimension is 0
   * @throws IllegalArgumentException if their lengths differ or are 0
   */
  public InMemoryVectors(List<float[]> vectors) {
    this.vectors = List.copyOf(vectors);
    this.dimension = this.vectors.isEmpty() ? 0 : this.vectors.get(0).length;
    for (int i = 0; i < this.vectors.size(); i++) {
      int length = this.vectors.get(i).length;
      if (length == 0 || length != dimension) {
        throw new IllegalArgumentException(
            "vectors of equal, positive length are needed; vector 0 has %d values, vector %d has %d"
                .formatted(dimension, i, length));
      }
    }
  }

  /** Returns the set of these vectors. */
  public static InMemoryVectors of(float[]... vectors) {
    return new InMemoryVectors(List.of(vectors));
  }

  @Override
  public long count() {
    return vectors.size();
  }

  @Override
  public int dimension() {
    return dimension;
  }

  /** Hands out copies of so many vectors at a time. */
  @Override
  public void forEachBlock(int rows, BlockReceiver receiver) {
    Blocks.copy(
        this,
        rows,
        (most, memory) -> {
          for (int first = 0; first < vectors.size(); first += most) {
            int here = Math.min(most, vectors.size() - first);
            FloatBuffer block = memory.duplicate();
            for (int i = 0; i < here; i++) {
              block.put(vectors.get(first + i));
            }
            receiver.accept(first, here, block.flip().asReadOnlyBuffer());
          }
        });
  }
}
