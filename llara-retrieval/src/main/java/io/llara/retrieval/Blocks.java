package io.llara.retrieval;

import io.llara.tensor.Libtorch;
import java.nio.FloatBuffer;
import org.bytedeco.javacpp.FloatPointer;

/** What the sets of vectors have in common when they hand out blocks. */
final class Blocks {
  /** A buffer over native memory has at most so many bytes. */
  private static final long MOST_BYTES = Integer.MAX_VALUE;

  private Blocks() {}

  /** Does something with native memory while it lives. */
  interface Use {
    void accept(FloatBuffer memory);
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

  /** Lends native memory for a number of floats, which is freed afterwards. */
  static void withMemory(int floats, Use use) {
    Libtorch.load();
    try (FloatPointer memory = new FloatPointer((long) floats)) {
      use.accept(memory.asBuffer());
    }
  }
}
