package io.llara.model;

import io.llara.attention.AttentionMask;
import io.llara.kernels.Kernels;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * One layer of a LLaMA decoder (arXiv 2302.13971, section 2.2): attention and feed-forward, each
 * normalised before and added to the residual stream after.
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

  /** Runs the layer on all rows, {@code [rows, hidden]}. */
  Tensor apply(Tensor hidden, Kernels.Rotation rotation, AttentionMask mask) {
    return run(hidden, null, rotation, rotation, mask);
  }

  /**
   * Runs the layer for a selection of rows only; keys and values still come from all of them.
   *
   * @param rows indices of the rows that the mask's queries are, {@code [queries]}
   * @return {@code [queries, hidden]}
   */
  Tensor apply(
      Tensor hidden,
      Tensor rows,
      Kernels.Rotation rotation,
      Kernels.Rotation rowRotation,
      AttentionMask mask) {
    return run(hidden, rows, rotation, rowRotation, mask);
  }

  private Tensor run(
      Tensor hidden,
      @Nullable Tensor rows,
      Kernels.Rotation keyRotation,
      Kernels.Rotation queryRotation,
      AttentionMask mask) {
    // What is dead is freed at once: its memory is still in the processor's cache for what comes
    // next.
    try (TensorScope scope = new TensorScope()) {
      Tensor attended;
      try (TensorScope attentionScope = new TensorScope()) {
        Tensor normed = attentionNorm.apply(hidden);
        attended =
            attentionScope.keep(
                attention.applyAndAdd(
                    normed,
                    rows == null ? normed : normed.index_select(0, rows),
                    rows == null ? hidden : hidden.index_select(0, rows),
                    keyRotation,
                    queryRotation,
                    mask));
      }
      return scope.keep(feedForward.applyAndAdd(feedForwardNorm.apply(attended), attended));
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
