package io.llara.model;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** The embedding matrix, in whatever type it is stored: rows are converted when looked up. */
final class TokenEmbedding implements AutoCloseable {
  private final Tensor matrix;
  private final ScalarType type;

  /**
   * Takes ownership of the matrix.
   *
   * @param matrix {@code [vocabulary, hidden]}, in any floating type
   * @param type the type of the results
   */
  TokenEmbedding(Tensor matrix, ScalarType type) {
    this.matrix = matrix;
    this.type = type;
  }

  /** Looks tokens up, {@code [ids.length, hidden]}. */
  Tensor apply(int[] ids) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(matrix.index_select(0, Tensors.ofInts(ids)).to(type));
    }
  }

  @Override
  public void close() {
    matrix.close();
  }
}
