package io.llara.kernels;

import org.bytedeco.pytorch.Tensor;

/**
 * A linear map of the model, {@code x → y}: plain, packed for one processor, or with a low-rank
 * addition. Parts of the model take projections ready-made and do not know which kind they got.
 *
 * <p>Shapes: {@code x [rows, in]}, {@code y [rows, out]}. Results belong to the caller's innermost
 * scope. Projections are immutable while lanes use them and may be applied by several lanes at
 * once.
 */
public interface Projection extends AutoCloseable {

  /** Returns {@code x Wᵀ}, plus the bias if there is one. */
  Tensor apply(Tensor x);

  /**
   * Returns {@code apply(x) + residual}; kernels that can add while they write the product save a
   * pass over memory.
   *
   * @param residual {@code [rows, out]}, left as it is
   */
  default Tensor applyAndAdd(Tensor x, Tensor residual) {
    return apply(x).add(residual);
  }

  /** Frees the native memory that this projection owns. */
  @Override
  void close();
}
