package io.llara.model;

import com.google.common.math.IntMath;
import io.llara.kernels.PackedProjection;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import java.math.RoundingMode;
import java.util.function.IntUnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/** Parts for inference: weights as a source has them, or packed copies. */
public final class StoredParts implements Parts {
  private final WeightSource weights;
  private final ScalarType type;
  private final boolean packed;
  private final int packedRows;

  /**
   * Takes parts from a source, which stays the caller's.
   *
   * @param type the type to compute in
   * @param packed whether projections are packed for this processor ({@link PackedProjection});
   *     needs a copy of the weights, saves time in every pass
   * @param packedRows the number of rows that packing prefers
   */
  public StoredParts(WeightSource weights, ScalarType type, boolean packed, int packedRows) {
    this.weights = weights;
    this.type = type;
    this.packed = packed;
    this.packedRows = packedRows;
  }

  @Override
  public boolean forThreads() {
    return weights.forThreads();
  }

  @Override
  public TokenEmbedding embedding() {
    return TokenEmbedding.stored(weights, type);
  }

  @Override
  public Tensor norm(String name) {
    return load(name, WeightSource.Use.KEPT);
  }

  @Override
  public Projection projection(String module) {
    String biasName = module + ".bias";
    Tensor bias = weights.has(biasName) ? load(biasName, WeightSource.Use.KEPT) : null;
    try {
      return packed ? pack(module, bias) : plain(module, bias);
    } catch (RuntimeException | Error e) {
      if (bias != null) {
        bias.close(); // No projection owns it yet.
      }
      throw e;
    }
  }

  /**
   * oneDNN compiles a kernel for every number of rows it meets and keeps it: a megabyte for each,
   * and milliseconds. Sixteen rows are one tile of a matrix unit, so that small batches lose
   * little; large ones lose at most 31 rows.
   */
  @Override
  public IntUnaryOperator rowPadding() {
    return rows -> {
      int multiple = rows <= 256 ? 16 : 32;
      return IntMath.divide(rows, multiple, RoundingMode.CEILING) * multiple;
    };
  }

  private Projection plain(String module, @Nullable Tensor bias) {
    return new PlainProjection(load(module + ".weight", WeightSource.Use.KEPT), bias);
  }

  private Projection pack(String module, @Nullable Tensor bias) {
    try (TensorScope scope = new TensorScope()) {
      Tensor weight = TensorScope.adopt(load(module + ".weight", WeightSource.Use.PASSING));
      return PackedProjection.pack(weight, bias, packedRows);
    }
  }

  private Tensor load(String name, WeightSource.Use use) {
    return weights.load(name, type, use);
  }

  @Override
  public String toString() {
    return "projections by libtorch, %s, in %s".formatted(packed ? "packed" : "plain", type);
  }
}
