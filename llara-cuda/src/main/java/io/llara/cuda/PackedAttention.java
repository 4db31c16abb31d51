package io.llara.cuda;

import org.bytedeco.pytorch.Tensor;

/** Attention within sequences of different lengths that lie one after the other. Thread-safe. */
interface PackedAttention {
  /** Returns its name, for people. */
  String name();

  /** Returns whether it can be used for queries, {@code [queries, heads, headDim]}. */
  boolean suits(Tensor q);

  /**
   * Attends, as {@link io.llara.kernels.Kernels#attention}; the result belongs to the caller's
   * innermost scope.
   *
   * @param q {@code [queries, heads, headDim]}
   * @param k {@code [keys, kvHeads, headDim]}
   * @param v {@code [keys, kvHeads, headDim]}
   * @return {@code [queries, heads, headDim]}
   */
  Tensor apply(Tensor q, Tensor k, Tensor v, PackedSequences sequences);

  /** The factor of scores. */
  static double scale(Tensor q) {
    return 1 / Math.sqrt(q.size(2));
  }
}
