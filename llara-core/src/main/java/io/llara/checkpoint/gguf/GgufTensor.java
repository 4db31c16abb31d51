package io.llara.checkpoint.gguf;

/**
 * Where a tensor of a GGUF file lies.
 *
 * @param name the tensor's name in the file
 * @param type the type of its blocks
 * @param shape the sizes, outermost first (the file has them the other way round)
 * @param offset the first byte, counted from the start of the file
 * @param length the number of bytes
 */
record GgufTensor(String name, GgufType type, long[] shape, long offset, long length) {
  /** Returns the number of elements of a row, the innermost size. */
  long rowElements() {
    return shape[shape.length - 1];
  }

  /** Returns the number of bytes of a row. */
  long rowBytes() {
    return rowElements() / type.blockElements() * type.blockBytes();
  }

  /** Returns the number of rows. */
  long rows() {
    return length / rowBytes();
  }
}
