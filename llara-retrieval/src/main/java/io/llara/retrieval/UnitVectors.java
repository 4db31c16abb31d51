package io.llara.retrieval;

import io.llara.LlaraException;
import io.llara.Similarity;
import java.nio.FloatBuffer;

/**
 * The vectors of another set, each scaled to length 1 while it is read: inner products of two such
 * sets are cosines. Thread-safe.
 */
public final class UnitVectors implements VectorSet {
  private final VectorSet vectors;

  /** Creates a view of a set, which must live as long. */
  public UnitVectors(VectorSet vectors) {
    this.vectors = vectors;
  }

  @Override
  public long count() {
    return vectors.count();
  }

  @Override
  public int dimension() {
    return vectors.dimension();
  }

  /**
   * Hands out scaled copies of so many vectors at a time.
   *
   * @throws LlaraException if a vector is zero or not finite; the message names it
   */
  @Override
  public void forEachBlock(int rows, BlockReceiver receiver) {
    int dimension = dimension();
    float[] vector = new float[dimension];
    Blocks.copy(
        this,
        rows,
        (most, memory) ->
            vectors.forEachBlock(
                most,
                (first, here, block) -> {
                  FloatBuffer scaled = memory.duplicate();
                  for (int i = 0; i < here; i++) {
                    block.get(i * dimension, vector);
                    scale(vector, first + i);
                    scaled.put(vector);
                  }
                  receiver.accept(first, here, scaled.flip().asReadOnlyBuffer());
                }));
  }

  private static void scale(float[] vector, long index) {
    double length = Math.sqrt(Similarity.dot(vector, vector));
    if (!(length > 0) || Double.isInfinite(length)) {
      throw new LlaraException(
          "vector %d has the length %s; only a positive, finite one has a direction"
              .formatted(index, length));
    }
    for (int i = 0; i < vector.length; i++) {
      vector[i] = (float) (vector[i] / length);
    }
  }
}
