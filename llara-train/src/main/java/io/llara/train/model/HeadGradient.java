package io.llara.train.model;

import io.llara.Internal;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Takes the gradient of the projection on the vocabulary, piece by piece. Not thread-safe: two
 * threads need a sum each.
 */
@Internal
@FunctionalInterface
public interface HeadGradient {
  /**
   * Adds {@code logitsGradientᵀ · hidden} to the gradient of the weight.
   *
   * @param logitsGradient {@code [n, vocabulary]}; the caller's, who changes it afterwards
   * @param hidden {@code [n, d]}, times the scale of the loss, of the same type
   */
  void add(Tensor logitsGradient, Tensor hidden);

  /** Returns one for a weight that is not trained. */
  static HeadGradient none() {
    return (logitsGradient, hidden) -> {};
  }

  /**
   * Returns one for a weight that is trained whole.
   *
   * @param sum float32, {@code [vocabulary, d]}, added to in place; the caller's
   */
  static HeadGradient full(Tensor sum) {
    requireFloatMatrix(sum);
    return (logitsGradient, hidden) -> {
      boolean floats = hidden.scalar_type().intern() == ScalarType.Float;
      // A block of the vocabulary at a time. The BLAS library repacks a block of the logits'
      // gradient into memory that it keeps: all at once would double what a chunk takes. In half
      // precision the block's product exists by itself, twice, and should stay in the cache.
      long elements = floats ? 6 << 20 : 2 << 20;
      long vocabulary = sum.size(0);
      long rows = Math.max(1, elements / sum.size(1));
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
    };
  }

  /**
   * Returns one for a weight of which only some rows are trained.
   *
   * @param ids the rows
   * @param sum float32, {@code [ids.length, d]}, added to in place; the caller's
   */
  static HeadGradient rows(int[] ids, Tensor sum) {
    requireFloatMatrix(sum);
    if (sum.size(0) != ids.length) {
      throw new IllegalArgumentException("%d rows for %d ids".formatted(sum.size(0), ids.length));
    }
    int[] rows = ids.clone();
    return (logitsGradient, hidden) -> {
      try (TensorScope scope = new TensorScope()) {
        Tensor some = logitsGradient.index_select(1, Tensors.ofInts(rows, logitsGradient));
        sum.addmm_(some.to(ScalarType.Float).t(), hidden.to(ScalarType.Float));
      }
    };
  }

  private static void requireFloatMatrix(Tensor sum) {
    if (sum.dim() != 2 || sum.scalar_type().intern() != ScalarType.Float) {
      throw new IllegalArgumentException("the sum must be a matrix in float32");
    }
  }
}
