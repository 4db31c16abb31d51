package io.llara.model;

import com.google.common.collect.ImmutableList;
import io.llara.kernels.Kernels;
import io.llara.kernels.Kernels.NormedSum;
import io.llara.kernels.Kernels.Rotation;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import java.util.List;
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
   * Attends from some rows to the keys of all rows, adds the residual and normalises the sum.
   *
   * @param x all rows of the batch, normalised, {@code [rows, hidden]}
   * @param rows the queries
   * @param residual {@code [queries, hidden]}
   */
  NormedSum applyAndAdd(Tensor x, Rows rows, Tensor residual, RmsNorm norm) {
    try (TensorScope scope = new TensorScope()) {
      List<Tensor> inputs =
          rows.indices() == null
              ? Projection.all(x, query, key, value)
              : ImmutableList.<Tensor>builder()
                  .add(query.apply(rows.of(x)))
                  .addAll(Projection.all(x, key, value))
                  .build();
      Tensor q = rotated(inputs.get(0), rows.queryRotation(), scope);
      Tensor k = rotated(inputs.get(1), rows.keyRotation(), scope);
      Tensor v = splitHeads(inputs.get(2), rows.keyRotation().headDim());
      NormedSum h = norm.ofSum(output, rows.attention().apply(q, k, v), residual);
      return new NormedSum(scope.keep(h.sum()), scope.keep(h.normed()));
    }
  }

  private Tensor rotated(Tensor x, Rotation rotation, TensorScope owner) {
    try (TensorScope scope = new TensorScope()) {
      Tensor heads = kernels.rotaryOver(splitHeads(x, rotation.headDim()), rotation);
      owner.free(x);
      return scope.keep(heads);
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
