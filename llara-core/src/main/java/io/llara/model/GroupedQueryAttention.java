package io.llara.model;

import io.llara.attention.AttentionMask;
import io.llara.kernels.Kernels;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Tensor;

/**
 * Self-attention whose query heads share key and value heads in groups (arXiv 2305.13245); with as
 * many of one as of the other it is plain multi-head attention.
 */
final class GroupedQueryAttention implements AutoCloseable {
  private final Kernels kernels;
  private final Projection query;
  private final Projection key;
  private final Projection value;
  private final Projection output;
  private final int headDim;

  /** Takes ownership of the projections. */
  GroupedQueryAttention(
      Kernels kernels,
      Projection query,
      Projection key,
      Projection value,
      Projection output,
      int headDim) {
    this.kernels = kernels;
    this.query = query;
    this.key = key;
    this.value = value;
    this.output = output;
    this.headDim = headDim;
  }

  /**
   * Returns {@code residual + attention}, for the rows of {@code queries} over the keys of {@code
   * x}.
   *
   * @param x all rows of the batch, normalised, {@code [keys, hidden]}
   * @param queries the mask's query rows of {@code x}, {@code [queries, hidden]}; in all layers but
   *     the last the same tensor
   * @param residual {@code [queries, hidden]}
   */
  Tensor applyAndAdd(
      Tensor x,
      Tensor queries,
      Tensor residual,
      Kernels.Rotation keyRotation,
      Kernels.Rotation queryRotation,
      AttentionMask mask) {
    try (TensorScope scope = new TensorScope()) {
      Tensor q = rotated(query, queries, queryRotation);
      Tensor k = rotated(key, x, keyRotation);
      Tensor v = heads(value.apply(x));
      return scope.keep(output.applyAndAdd(kernels.attention(q, k, v, mask), residual));
    }
  }

  private Tensor rotated(Projection projection, Tensor x, Kernels.Rotation rotation) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(kernels.rotary(heads(projection.apply(x)), rotation));
    }
  }

  /** {@code [rows, heads · headDim]} as {@code [rows, heads, headDim]}. */
  private Tensor heads(Tensor rows) {
    return rows.view(rows.size(0), -1, headDim);
  }

  @Override
  public void close() {
    query.close();
    key.close();
    value.close();
    output.close();
  }
}
