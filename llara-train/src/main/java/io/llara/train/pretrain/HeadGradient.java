package io.llara.train.pretrain;

import io.llara.Internal;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Takes what the projection's own weight is to be changed by, piece by piece. Not thread-safe: two
 * threads need a buffer each.
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
    return new FullHeadGradient(sum);
  }

  /**
   * Returns one for a weight of which only some rows are trained.
   *
   * @param ids the rows
   * @param sum float32, {@code [ids.length, d]}, added to in place; the caller's
   */
  static HeadGradient rows(int[] ids, Tensor sum) {
    if (FullHeadGradient.requireFloats(sum).size(0) != ids.length) {
      throw new IllegalArgumentException("%d rows for %d ids".formatted(sum.size(0), ids.length));
    }
    int[] rows = ids.clone();
    return (logitsGradient, hidden) -> {
      try (TensorScope scope = new TensorScope()) {
        Tensor some = logitsGradient.index_select(1, Tensors.ofInts(rows));
        sum.addmm_(some.to(ScalarType.Float).t(), hidden.to(ScalarType.Float));
      }
    };
  }
}
