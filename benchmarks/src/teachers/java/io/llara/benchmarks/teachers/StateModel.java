package io.llara.benchmarks.teachers;

/** A model of token ids. For one thread. */
interface StateModel extends AutoCloseable {
  /**
   * Returns the final states of texts, row-major {@code [texts, length, width]}.
   *
   * @param ids {@code [texts, length]}, row-major, padded with 0
   * @param lengths how many ids of each text are not padding
   */
  float[] states(int[] ids, int[] lengths);

  @Override
  void close();
}
