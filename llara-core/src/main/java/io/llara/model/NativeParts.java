package io.llara.model;

import io.llara.checkpoint.LlamaTensors;
import io.llara.kernels.NativeProjection;
import io.llara.kernels.Projection;
import io.llara.model.WeightSource.Use;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Parts for inference with this project's own projections: matrices that are stored as integers of
 * eight or four bits are taken as they are, others are rounded to eight bits, or, to compute in
 * bfloat16, to bfloat16.
 */
public final class NativeParts implements Parts {
  private final WeightSource weights;
  private final ScalarType type;

  /**
   * Takes parts from a source, which stays the caller's.
   *
   * @param type the type between projections, for which these are {@linkplain
   *     NativeProjection#available available}
   */
  public NativeParts(WeightSource weights, ScalarType type) {
    this.weights = weights;
    this.type = type;
  }

  @Override
  public boolean forThreads() {
    return weights.forThreads();
  }

  @Override
  public TokenEmbedding embedding() {
    Optional<QuantizedMatrix> stored = weights.quantized(LlamaTensors.EMBEDDING);
    if (stored.isPresent()) {
      return new TokenEmbedding(stored.get(), type);
    }
    if (type == ScalarType.BFloat16) {
      return TokenEmbedding.stored(weights, type);
    }
    try (Tensor matrix = load(LlamaTensors.EMBEDDING)) {
      return new TokenEmbedding(QuantizedMatrix.quantize(matrix), type);
    }
  }

  @Override
  public Tensor norm(String name) {
    return weights.load(name, type, Use.KEPT);
  }

  @Override
  public Projection projection(String module) {
    String biasName = module + ".bias";
    Tensor bias = weights.has(biasName) ? norm(biasName) : null;
    try {
      return projection(module + ".weight", bias);
    } catch (RuntimeException | Error e) {
      if (bias != null) {
        bias.close(); // No projection owns it yet.
      }
      throw e;
    }
  }

  private Projection projection(String name, @Nullable Tensor bias) {
    Optional<QuantizedMatrix> stored = weights.quantized(name);
    if (stored.isPresent()) {
      try (QuantizedMatrix matrix = stored.get()) {
        if (NativeProjection.takes(matrix.group(), matrix.width())) {
          return NativeProjection.of(matrix.integers(), matrix.scales(), bias, type);
        }
      }
    }
    try (Tensor weight = load(name)) {
      return NativeProjection.pack(weight, bias, type);
    }
  }

  /** Loads a weight in its own type where that can be packed. */
  private Tensor load(String name) {
    boolean half = weights.storedType(name, ScalarType.Float) == ScalarType.BFloat16;
    return weights.load(name, half ? ScalarType.BFloat16 : ScalarType.Float, Use.PASSING);
  }

  @Override
  public IntUnaryOperator rowPadding() {
    return IntUnaryOperator.identity();
  }

  @Override
  public String toString() {
    return "native projections, %s between them".formatted(type);
  }
}
