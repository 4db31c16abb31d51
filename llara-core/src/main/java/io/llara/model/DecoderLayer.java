package io.llara.model;

import io.llara.kernels.Kernels.NormedSum;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Tensor;

/**
 * One layer of a LLaMA decoder (arXiv 2302.13971, section 2.2): {@code h = hidden +
 * attention(norm(hidden))}, then {@code h + feedForward(norm(h))}.
 */
final class DecoderLayer implements AutoCloseable {
  private final RmsNorm attentionNorm;
  private final GroupedQueryAttention attention;
  private final RmsNorm feedForwardNorm;
  private final SwiGluFeedForward feedForward;

  /** Takes ownership of the parts. */
  DecoderLayer(
      RmsNorm attentionNorm,
      GroupedQueryAttention attention,
      RmsNorm feedForwardNorm,
      SwiGluFeedForward feedForward) {
    this.attentionNorm = attentionNorm;
    this.attention = attention;
    this.feedForwardNorm = feedForwardNorm;
    this.feedForward = feedForward;
  }

  /**
   * Runs the layer.
   *
   * @param hidden all rows of the batch, {@code [rows, hidden]}
   * @param rows those to compute
   * @return {@code [queries, hidden]}
   */
  Tensor apply(Tensor hidden, Rows rows) {
    try (TensorScope scope = new TensorScope()) {
      NormedSum h = attend(hidden, rows);
      return scope.keep(feedForward.applyAndAdd(h.normed(), h.sum()));
    }
  }

  /**
   * What the block made on its way is freed at once: its memory is still in the processor's cache
   * for what comes next.
   */
  private NormedSum attend(Tensor hidden, Rows rows) {
    try (TensorScope scope = new TensorScope()) {
      Tensor normed = attentionNorm.apply(hidden);
      NormedSum h = attention.applyAndAdd(normed, rows, rows.of(hidden), feedForwardNorm);
      return new NormedSum(scope.keep(h.sum()), scope.keep(h.normed()));
    }
  }

  @Override
  public void close() {
    attentionNorm.close();
    attention.close();
    feedForwardNorm.close();
    feedForward.close();
  }
}
