package io.llara.kernels;

import org.bytedeco.pytorch.Tensor;

/** A projection of which neighbouring outputs can be computed alone. */
public interface SlicedProjection extends Projection {

  /**
   * Returns some of the outputs of {@link #apply(Tensor)}, {@code [rows, count]}.
   *
   * @param begin the first output
   */
  Tensor apply(Tensor x, long begin, long count);
}
