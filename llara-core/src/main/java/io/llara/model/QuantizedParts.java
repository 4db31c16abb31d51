package io.llara.model;

import io.llara.checkpoint.LlamaTensors;
import io.llara.kernels.Projection;
import io.llara.kernels.QuantizedProjection;
import io.llara.model.WeightSource.Use;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Parts for inference in integers: matrices that are stored so are taken as they are, of eight or
 * four bits, others are rounded to eight. Vectors are float32.
 */
public final class QuantizedParts implements Parts {
  private final WeightSource weights;

  /** Takes parts from a source, which stays the caller's. */
  public QuantizedParts(WeightSource weights) {
    this.weights = weights;
  }

  @Override
  public boolean forThreads() {
    return weights.forThreads();
  }

  @Override
  public TokenEmbedding embedding() {
    Optional<QuantizedMatrix> stored = weights.quantized(LlamaTensors.EMBEDDING);
    if (stored.isPresent()) {
      return new TokenEmbedding(stored.get(), ScalarType.Float);
    }
    try (Tensor matrix = load(LlamaTensors.EMBEDDING)) {
      return new TokenEmbedding(QuantizedMatrix.quantize(matrix), ScalarType.Float);
    }
  }

  @Override
  public Tensor norm(String name) {
    return weights.load(name, ScalarType.Float, Use.KEPT);
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
        if (QuantizedProjection.takes(matrix.group(), matrix.width())) {
          return QuantizedProjection.of(matrix.integers(), matrix.scales(), bias);
        }
      }
    }
    try (Tensor weight = load(name)) {
      return QuantizedProjection.quantize(weight, bias);
    }
  }

  /** Loads a weight in its own type where that can be rounded. */
  private Tensor load(String name) {
    boolean half = weights.storedType(name, ScalarType.Float) == ScalarType.BFloat16;
    return weights.load(name, half ? ScalarType.BFloat16 : ScalarType.Float, Use.PASSING);
  }

  @Override
  public IntUnaryOperator rowPadding() {
    return IntUnaryOperator.identity();
  }
}
