package io.llara.model;

import io.llara.kernels.Kernels;
import io.llara.kernels.Kernels.NormedSum;
import io.llara.kernels.Projection;
import org.bytedeco.pytorch.Tensor;

/** Root mean square normalisation with a learned scale (arXiv 1910.07467). */
final class RmsNorm implements AutoCloseable {
  private final Kernels kernels;
  private final Tensor weight;
  private final double eps;

  /** Takes ownership of the weight, {@code [hidden]}. */
  RmsNorm(Kernels kernels, Tensor weight, double eps) {
    this.kernels = kernels;
    this.weight = weight;
    this.eps = eps;
  }

  /** Normalises rows, {@code [rows, hidden]}. */
  Tensor apply(Tensor x) {
    return kernels.rmsNorm(x, weight, eps);
  }

  /** Projects, adds the residual stream and normalises, as {@link Kernels#addRmsNorm}. */
  NormedSum ofSum(Projection projection, Tensor x, Tensor residual) {
    return kernels.addRmsNorm(projection, x, residual, weight, eps);
  }

  @Override
  public void close() {
    weight.close();
  }
}
