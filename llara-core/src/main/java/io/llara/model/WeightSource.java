package io.llara.model;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Where a model's weights come from, by canonical name ({@link io.llara.checkpoint.LlamaTensors}).
 * For one thread, unless it {@linkplain #forThreads says otherwise}.
 */
public interface WeightSource {

  /** What becomes of a weight after it was loaded. */
  enum Use {
    /** The model keeps it: a view of a mapped file will do. */
    KEPT,
    /** It is rearranged and thrown away: mapping its pages would only hold memory. */
    PASSING
  }

  /** Returns whether several threads may load at once; by default false. */
  default boolean forThreads() {
    return false;
  }

  /** Returns whether there is a weight of this name. */
  boolean has(String name);

  /**
   * Returns a weight in its stored type, or in {@code type} where the source can choose. The caller
   * owns it.
   */
  Tensor load(String name, ScalarType type, Use use);

  /** Returns whether a matrix is stored as integers and scales. */
  default boolean isQuantized(String name) {
    return false;
  }

  /** Returns a matrix as integers and scales, if it is stored so. The caller owns it. */
  default Optional<QuantizedMatrix> quantized(String name) {
    return Optional.empty();
  }

  /** Returns the type a weight is stored in. */
  ScalarType storedType(String name, ScalarType preferred);
}
