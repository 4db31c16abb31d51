package io.llara.model;

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
      Tensor h = attend(hidden, rows);
      return scope.keep(feedForward.applyAndAdd(feedForwardNorm.apply(h), h));
    }
  }

  /**
   * What the block made on its way is freed at once: its memory is still in the processor's cache
   * for what comes next.
   */
  private Tensor attend(Tensor hidden, Rows rows) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(
          attention.applyAndAdd(attentionNorm.apply(hidden), rows, rows.of(hidden)));
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
