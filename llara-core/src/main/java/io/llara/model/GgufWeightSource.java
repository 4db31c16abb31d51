package io.llara.model;

import io.llara.ModelLoadException;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.gguf.GgufWeights;
import io.llara.io.Messages;
import io.llara.tensor.TensorFile;
import io.llara.tensor.TensorScope;
import java.io.IOException;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The weights of a GGUF file, read as they are asked for. Matrices of Q8_0 and Q4_0 are {@linkplain
 * #quantized integers}, and never floats on the way. Thread-safe.
 */
public final class GgufWeightSource implements WeightSource {
  private final GgufWeights weights;
  private final Map<String, long[]> shapes;

  /**
   * Creates a source.
   *
   * @param config the configuration of the file, or of its first layers
   */
  public GgufWeightSource(GgufWeights weights, LlamaConfig config) {
    this.weights = weights;
    this.shapes = LlamaTensors.all(config);
  }

  @Override
  public boolean forThreads() {
    return true;
  }

  @Override
  public boolean has(String name) {
    return shapes.containsKey(name);
  }

  @Override
  public Tensor load(String name, ScalarType type, Use use) {
    StorageType stored = weights.storedType(name);
    try (TensorScope scope = new TensorScope()) {
      Tensor whole =
          read(name, weights.floats(name, stored), StoredTensors.scalarType(stored), shape(name));
      return scope.own(whole.to(type));
    }
  }

  @Override
  public boolean isQuantized(String name) {
    return weights.bits(name) > 0;
  }

  @Override
  public Optional<QuantizedMatrix> quantized(String name) {
    int bits = weights.bits(name);
    if (bits == 0) {
      return Optional.empty();
    }
    long[] shape = shape(name);
    try (TensorScope scope = new TensorScope()) {
      ScalarType type = bits == 4 ? ScalarType.Byte : ScalarType.Char;
      Tensor integers =
          read(name, weights.integers(name, bits), type, shape[0], shape[1] * bits / 8);
      Tensor scales =
          read(name, weights.scales(name), ScalarType.Half, shape[0], shape[1] / GgufWeights.GROUP)
              .to(ScalarType.Float);
      return Optional.of(new QuantizedMatrix(scope.own(integers), scope.own(scales)));
    }
  }

  @Override
  public ScalarType storedType(String name, ScalarType preferred) {
    return isQuantized(name) ? preferred : StoredTensors.scalarType(weights.storedType(name));
  }

  private long[] shape(String name) {
    return Objects.requireNonNull(shapes.get(name), name);
  }

  /** Reads a tensor into the innermost scope. */
  private static Tensor read(
      String name, SafetensorsWriter.Content content, ScalarType type, long... shape) {
    try {
      return TensorScope.adopt(TensorFile.of(content::writeTo, type, shape));
    } catch (IOException e) {
      throw new ModelLoadException(
          "weight %s cannot be read: %s".formatted(name, Messages.reason(e)), e);
    }
  }
}
