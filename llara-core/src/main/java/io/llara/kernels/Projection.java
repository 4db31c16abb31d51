package io.llara.kernels;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * A linear map of the model, {@code x → y}: plain, packed for one processor, in integers or
 * eight-bit floats, or with a low-rank addition. Parts of the model take projections ready-made and
 * do not know which kind they got.
 *
 * <p>Projections are immutable while lanes use them and may be applied by several lanes at once.
 */
public interface Projection extends AutoCloseable {

  /**
   * Returns {@code x Wᵀ}, plus the bias if there is one, as a new tensor in the caller's innermost
   * scope.
   *
   * @param x {@code [rows, in]}
   * @return {@code [rows, out]}
   */
  Tensor apply(Tensor x);

  /**
   * Returns {@link #apply} plus other rows, as a new tensor in the caller's innermost scope.
   *
   * @param residual {@code [rows, out]}; left as it is
   */
  default Tensor applyAndAdd(Tensor x, Tensor residual) {
    return apply(x).add_(residual);
  }

  /**
   * Applies projections to the same rows: in one product where they are {@linkplain
   * JoinedProjection joined}; where they are this project's own, rows are packed once.
   *
   * @param x {@code [rows, in]}
   * @return {@code [rows, out]} of each, possibly views of one tensor
   */
  static List<Tensor> all(Tensor x, Projection... projections) {
    return JoinedProjection.first(projections)
        .map(first -> first.apply(x, projections.length))
        .or(() -> NativeProjection.all(x, projections))
        .orElseGet(() -> Arrays.stream(projections).map(each -> each.apply(x)).toList());
  }

  /** Frees the native memory that this projection owns. */
  @Override
  void close();
}
