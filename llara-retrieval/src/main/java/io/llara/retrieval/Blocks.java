package io.llara.retrieval;

import io.llara.tensor.Libtorch;
import java.nio.FloatBuffer;
import org.bytedeco.javacpp.FloatPointer;

/** What the sets of vectors have in common when they hand out blocks. */
final class Blocks {
  /** A buffer over native memory has at most so many bytes. */
  private static final long MOST_BYTES = Integer.MAX_VALUE;

  private Blocks() {}

  /** Does something with native memory for so many rows while it lives. */
  interface Use {
    void accept(int rows, FloatBuffer memory);
  }

  /**
   * Lends native memory for the largest block of a set, once the number of rows asked for is
   * checked; does nothing if the set is empty.
   */
  static void copy(VectorSet vectors, int asked, Use use) {
    int rows = rows(asked, vectors);
    if (rows > 0) {
      Libtorch.load();
      try (FloatPointer memory = new FloatPointer((long) rows * vectors.dimension())) {
        use.accept(rows, memory.asBuffer());
      }
    }
  }

  /** Returns how many rows the largest block of a set has, once the number asked for is checked. */
  static int rows(int asked, VectorSet vectors) {
    if (asked < 1) {
      throw new IllegalArgumentException("a block of " + asked + " vectors; expected 1 or more");
    }
    int rows = (int) Math.min(asked, vectors.count());
    if ((long) rows * vectors.dimension() * Float.BYTES > MOST_BYTES) {
      throw new IllegalArgumentException(
          "a block of %d vectors of dimension %d has more than %d bytes"
              .formatted(rows, vectors.dimension(), MOST_BYTES));
    }
    return rows;
  }
}
