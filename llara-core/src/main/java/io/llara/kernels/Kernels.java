package io.llara.kernels;

import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.Tensors;
import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * The operations of a LLaMA layer that are not plain projections: {@link LibtorchKernels}
 * everywhere, {@link FusedKernels} where they are compiled for the processor, those of an {@link
 * Accelerator} on other devices. The equations around them stand once, in {@code io.llara.model}.
 *
 * <p>Implementations are stateless and may be used by several lanes at once. Results belong to the
 * caller's innermost scope; arguments are left as they are but where it says otherwise.
 */
public interface Kernels {

  /**
   * Root mean square normalisation (arXiv 1910.07467): {@code x / sqrt(mean(x²) + eps) · weight};
   * the mean is taken in float32.
   *
   * @param x {@code [rows, hidden]}
   * @param weight {@code [hidden]}
   */
  Tensor rmsNorm(Tensor x, Tensor weight, double eps);

  /**
   * Projects rows, adds the residual stream and normalises the sum.
   *
   * @param x {@code [rows, in]}
   * @param residual {@code [rows, hidden]}
   * @param weight {@code [hidden]}
   */
  default NormedSum addRmsNorm(
      Projection projection, Tensor x, Tensor residual, Tensor weight, double eps) {
    Tensor sum = projection.applyAndAdd(x, residual);
    return new NormedSum(sum, rmsNorm(sum, weight, eps));
  }

  /**
   * Rotary position embedding (arXiv 2104.09864) in the half-rotation layout of Hugging Face
   * checkpoints: the pair of a component {@code i < headDim / 2} is {@code i + headDim / 2}.
   *
   * @param x {@code [rows, heads, headDim]}
   */
  Tensor rotary(Tensor x, Rotation rotation);

  /** As {@link #rotary}, but what {@code x} holds afterwards is undefined: it may be the result. */
  default Tensor rotaryOver(Tensor x, Rotation rotation) {
    return rotary(x, rotation);
  }

  /**
   * Scaled dot-product attention, {@code softmax(q kᵀ / sqrt(headDim)) v}, over spans.
   *
   * @param q {@code [queries, heads, headDim]}
   * @param k {@code [keys, kvHeads, headDim]}; query head {@code h} reads key head {@code h ·
   *     kvHeads / heads}
   * @param v {@code [keys, kvHeads, headDim]}
   * @param spans by ascending query rows
   * @return {@code [queries, heads · headDim]}; rows that no span covers, padding among them, are
   *     zero
   */
  Tensor attention(Tensor q, Tensor k, Tensor v, List<Span> spans);

  /**
   * Prepares {@link #attention} over the same spans in all layers of a pass. The result belongs to
   * the caller's innermost scope.
   */
  default Attention attention(List<Span> spans) {
    return (q, k, v) -> attention(q, k, v, spans);
  }

  /**
   * The gated half of a SwiGLU feed-forward block (arXiv 2002.05202): {@code silu(gate(x)) ·
   * up(x)}.
   *
   * @param x {@code [rows, hidden]}
   */
  Tensor swiGlu(Tensor x, Projection gate, Projection up);

  /**
   * A whole SwiGLU feed-forward block and the residual stream: {@code down(silu(gate(x)) · up(x)) +
   * residual}.
   *
   * @param x {@code [rows, hidden]}
   * @param residual {@code [rows, hidden]}
   */
  default Tensor feedForward(
      Tensor x, Projection gate, Projection up, Projection down, Tensor residual) {
    return down.applyAndAdd(swiGlu(x, gate, up), residual);
  }

  /**
   * Rounds rows to eight-bit floats, for {@link Float8Projection}.
   *
   * @param x {@code [rows, width]}
   */
  default Float8Rows float8Rows(Tensor x) {
    return Float8Rows.of(x);
  }

  /** Attention over spans that are known. */
  interface Attention {
    /** See {@link Kernels#attention(Tensor, Tensor, Tensor, List)}. */
    Tensor apply(Tensor q, Tensor k, Tensor v);
  }

  /**
   * A sum and its normalised rows.
   *
   * @param sum {@code [rows, hidden]}
   * @param normed {@code [rows, hidden]}
   */
  record NormedSum(Tensor sum, Tensor normed) {}

  /**
   * Cosines and sines of the rows of a batch: {@code x} is rotated to {@code x · cos + swapped(x) ·
   * sin}, where {@code swapped} exchanges the halves of a head.
   *
   * @param cos {@code [rows, 1, headDim]}, both halves alike
   * @param sin {@code [rows, 1, headDim]}, the first half negated
   */
  record Rotation(Tensor cos, Tensor sin) {
    /** Returns the rotation of some of the rows, given their indices. */
    public Rotation of(Tensor indices) {
      return new Rotation(Tensors.rows(cos, indices), Tensors.rows(sin, indices));
    }

    /** Returns the rotations that undo these. */
    public Rotation inverse() {
      return new Rotation(cos, sin.neg());
    }

    /** Returns the width of a head. */
    public long headDim() {
      return cos.size(2);
    }
  }
}
