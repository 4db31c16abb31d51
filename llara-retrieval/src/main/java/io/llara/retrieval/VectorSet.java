package io.llara.retrieval;

import java.nio.FloatBuffer;

/**
 * Vectors in a fixed order, read from their start as often as they are asked for; not necessarily
 * in memory. Thread-safe: several threads may read at once.
 */
public interface VectorSet {

  /** Takes a block of vectors. */
  @FunctionalInterface
  interface BlockReceiver {
    /**
     * Takes the next vectors.
     *
     * @param first the index of the block's first vector
     * @param rows how many vectors the block has
     * @param vectors their values, row-major {@code [rows, dimension]}, from the buffer's position
     *     0; in native byte order, and only to be read until this method returns. The sets of this
     *     package hand out direct buffers, which native code reads without a copy
     */
    void accept(long first, int rows, FloatBuffer vectors);
  }

  /** Returns how many vectors there are. */
  long count();

  /** Returns the length of each. */
  int dimension();

  /**
   * Hands out all vectors, in order.
   *
   * @param rows how many vectors a block has, at least 1; the last one may have fewer
   */
  void forEachBlock(int rows, BlockReceiver receiver);
}
