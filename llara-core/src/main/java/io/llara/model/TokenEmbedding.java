package io.llara.model;

import io.llara.checkpoint.LlamaTensors;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** The embedding matrix, in whatever form it is stored: rows are converted when looked up. */
public final class TokenEmbedding implements AutoCloseable {
  private final UnaryOperator<Tensor> rows;
  private final Runnable owned;
  private final ScalarType type;

  /**
   * Takes ownership of a matrix.
   *
   * @param matrix {@code [vocabulary, hidden]}, in any floating type
   * @param type the type of the results
   */
  public TokenEmbedding(Tensor matrix, ScalarType type) {
    this(ids -> Tensors.rows(matrix, Tensors.placed(ids, matrix)), matrix::close, type);
  }

  /** Takes ownership of a quantised matrix; otherwise as with a tensor. */
  TokenEmbedding(QuantizedMatrix matrix, ScalarType type) {
    this(matrix::rows, matrix::close, type);
  }

  private TokenEmbedding(UnaryOperator<Tensor> rows, Runnable owned, ScalarType type) {
    this.rows = rows;
    this.owned = owned;
    this.type = type;
  }

  /**
   * Returns the matrix as a source stores it: rows are converted when they are looked up, which is
   * exact and needs no copy.
   */
  static TokenEmbedding stored(WeightSource weights, ScalarType type) {
    ScalarType own = weights.storedType(LlamaTensors.EMBEDDING, type);
    return new TokenEmbedding(
        weights.load(LlamaTensors.EMBEDDING, own, WeightSource.Use.KEPT), type);
  }

  /** Looks tokens up, {@code [ids.length, hidden]}. */
  Tensor apply(int[] ids) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(rows.apply(Tensors.ofInts(ids)).to(type));
    }
  }

  @Override
  public void close() {
    owned.run();
  }
}
