package io.llara.model;

import io.llara.kernels.Kernels;
import io.llara.kernels.Kernels.Rotation;
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

  /** Takes ownership of the projections. */
  GroupedQueryAttention(
      Kernels kernels, Projection query, Projection key, Projection value, Projection output) {
    this.kernels = kernels;
    this.query = query;
    this.key = key;
    this.value = value;
    this.output = output;
  }

  /**
   * Attends from some rows to the keys of all rows, and adds the residual.
   *
   * @param x all rows of the batch, normalised, {@code [rows, hidden]}
   * @param rows the queries
   * @param residual {@code [queries, hidden]}
   * @return {@code [queries, hidden]}
   */
  Tensor applyAndAdd(Tensor x, Rows rows, Tensor residual) {
    try (TensorScope scope = new TensorScope()) {
      Tensor q = rotated(query, rows.of(x), rows.queryRotation());
      Tensor k = rotated(key, x, rows.keyRotation());
      Tensor v = splitHeads(value.apply(x), rows.keyRotation().headDim());
      return scope.keep(
          output.applyAndAdd(kernels.attention(q, k, v, rows.spans()), residual));
    }
  }

  private Tensor rotated(Projection projection, Tensor x, Rotation rotation) {
    try (TensorScope scope = new TensorScope()) {
      Tensor heads = splitHeads(projection.apply(x), rotation.headDim());
      return scope.keep(kernels.rotary(heads, rotation));
    }
  }

  /** Views {@code [rows, heads · headDim]} as {@code [rows, heads, headDim]}. */
  private static Tensor splitHeads(Tensor x, long headDim) {
    return x.view(x.size(0), -1, headDim);
  }

  @Override
  public void close() {
    query.close();
    key.close();
    value.close();
    output.close();
  }
}
