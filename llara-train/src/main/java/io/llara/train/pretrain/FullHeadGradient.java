package io.llara.train.pretrain;

import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Sums the gradient of the whole weight in float32, a block of the vocabulary at a time. */
final class FullHeadGradient implements HeadGradient {
  /**
   * Elements of the sum in a block. The BLAS library repacks the logits' gradient of a block into
   * memory that it keeps: all of the vocabulary at once would double what a chunk takes.
   */
  private static final long BLOCK = 6 << 20;

  /**
   * In half precision the block's product exists by itself, twice, and should stay in the cache.
   */
  private static final long HALF_PRECISION_BLOCK = 2 << 20;

  private final Tensor sum;

  FullHeadGradient(Tensor sum) {
    this.sum = requireFloats(sum);
  }

  static Tensor requireFloats(Tensor sum) {
    if (sum.dim() != 2 || sum.scalar_type().intern() != ScalarType.Float) {
      throw new IllegalArgumentException("the sum is to be a matrix in float32");
    }
    return sum;
  }

  @Override
  public void add(Tensor logitsGradient, Tensor hidden) {
    boolean floats = hidden.scalar_type().intern() == ScalarType.Float;
    long vocabulary = sum.size(0);
    long rows = Math.max(1, (floats ? BLOCK : HALF_PRECISION_BLOCK) / sum.size(1));
    for (long from = 0; from < vocabulary; from += rows) {
      try (TensorScope scope = new TensorScope()) {
        long count = Math.min(rows, vocabulary - from);
        Tensor part = sum.narrow(0, from, count);
        Tensor gradient = logitsGradient.narrow(1, from, count).t();
        if (floats) {
          part.addmm_(gradient, hidden);
        } else {
          // Converted first: adding one type to another is the slowest way.
          part.add_(gradient.mm(hidden).to(ScalarType.Float));
        }
      }
    }
  }
}
