package io.llara.kernels;

import io.llara.attention.AttentionMask;
import org.bytedeco.pytorch.Tensor;

/**
 * The operations of a LLaMA layer that are not plain projections. One implementation per kind of
 * device; the equations around them stand once, in {@code io.llara.model}.
 *
 * <p>Implementations are stateless and may be used by several lanes at once. Results belong to the
 * caller's innermost scope; arguments are left as they are.
 */
public interface Kernels {

  /** Returns whether autograd may record these operations. */
  boolean differentiable();

  /**
   * Returns how many rows a batch is to be padded to with rows that no span covers; at least {@code
   * rows}. Kernels that are compiled for a number of rows keep that set of numbers small by it.
   *
   * @param rows the rows of the batch
   */
  default int paddedRows(int rows) {
    return rows;
  }

  /**
   * Root mean square normalisation (arXiv 1910.07467): {@code x / sqrt(mean(x²) + eps) · weight};
   * the mean is taken in float32.
   *
   * @param x {@code [rows, hidden]}
   * @param weight {@code [hidden]}
   */
  Tensor rmsNorm(Tensor x, Tensor weight, double eps);

  /**
   * Rotary position embedding (arXiv 2104.09864) in the half-rotation layout of Hugging Face
   * checkpoints: the pair of a component {@code i < headDim / 2} is {@code i + headDim / 2}.
   *
   * @param x {@code [rows, heads, headDim]}
   * @param table the cosines and sines of the rows' positions
   */
  Tensor rotary(Tensor x, Rotation table);

  /**
   * Scaled dot-product attention, {@code softmax(q kᵀ / sqrt(headDim)) v}, over the spans of a
   * mask.
   *
   * @param q {@code [queries, heads, headDim]}, the mask's query rows
   * @param k {@code [keys, kvHeads, headDim]}, the mask's key rows; query head {@code h} reads key
   *     head {@code h · kvHeads / heads}
   * @param v {@code [keys, kvHeads, headDim]}
   * @return {@code [queries, heads · headDim]}; rows that no span covers, padding at the end among
   *     them, are zero
   */
  Tensor attention(Tensor q, Tensor k, Tensor v, AttentionMask mask);

  /**
   * The gated half of a SwiGLU feed-forward block (arXiv 2002.05202): {@code silu(gate(x)) ·
   * up(x)}.
   *
   * @param x {@code [rows, hidden]}
   */
  Tensor swiGlu(Tensor x, Projection gate, Projection up);

  /**
   * Cosines and sines for the rows of a batch.
   *
   * @param cos {@code [rows, 1, headDim]}, both halves alike
   * @param sin {@code [rows, 1, headDim / 2]}
   */
  record Rotation(Tensor cos, Tensor sin) {}
}
