package io.llara.checkpoint;

import java.util.Arrays;

/** Arithmetic on tensor shapes that cannot overflow unnoticed. */
final class Shapes {
  private Shapes() {}

  /**
   * Returns the number of bytes of a dense tensor.
   *
   * @throws IllegalArgumentException if a size is negative or the product passes 2^63 - 1
   */
  static long byteLength(long[] shape, StorageType type) {
    long product = type.bytes();
    boolean empty = false;
    for (long size : shape) {
      if (size < 0) {
        throw new IllegalArgumentException(
            "shape " + Arrays.toString(shape) + " has a negative size");
      }
      empty |= size == 0;
    }
    if (empty) {
      return 0;
    }
    try {
      for (long size : shape) {
        product = Math.multiplyExact(product, size);
      }
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException("shape " + Arrays.toString(shape) + " is too large", e);
    }
    return product;
  }
}
