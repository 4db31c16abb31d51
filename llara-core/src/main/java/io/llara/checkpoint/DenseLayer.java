package io.llara.checkpoint;

import io.llara.ModelLoadException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A linear layer behind the pooling, the Dense module of the sentence-transformers library: {@code
 * activation(weight · x + bias)}. Immutable and thread-safe.
 */
public final class DenseLayer {
  /** The name of its file beside a {@code llara.json}. */
  public static final String FILE_NAME = "dense.safetensors";

  /** The name of its matrix, {@code [outputs, inputs]}. */
  public static final String WEIGHT = "linear.weight";

  static final String BIAS = "linear.bias";

  /** What follows the product. */
  public enum Activation {
    LINEAR,
    TANH
  }

  /**
   * Where a model has one.
   *
   * @param file the path of its weights, from the model's directory on
   */
  public record Location(String file, Activation activation) {}

  private final int inputs;

  /** {@code [inputs, outputs]}: summed row by row, which the JIT compiler vectorises. */
  private final float[] transposed;

  private final float[] bias;
  private final Activation activation;

  private DenseLayer(int inputs, float[] transposed, float[] bias, Activation activation) {
    this.inputs = inputs;
    this.transposed = transposed;
    this.bias = bias;
    this.activation = activation;
  }

  /**
   * Reads the layer of a model.
   *
   * @param inputs the model's hidden size
   * @throws ModelLoadException if its file is missing or damaged, has other tensors, another number
   *     of inputs, or a value that is not finite
   */
  static DenseLayer read(Path dir, Location location, int inputs) {
    SafetensorsFile file = SafetensorsFile.open(dir.resolve(location.file()));
    Map<String, TensorEntry> entries = file.entries();
    TensorEntry weight = file.entry(WEIGHT);
    @Nullable TensorEntry biases = entries.get(BIAS);
    if (entries.size() > (biases == null ? 1 : 2)) {
      throw new ModelLoadException(
          "%s: has the tensors %s; expected %s and maybe %s"
              .formatted(file.path(), String.join(", ", entries.keySet()), WEIGHT, BIAS));
    }
    long[] shape = weight.shape();
    if (shape.length != 2 || shape[0] == 0 || shape[1] != inputs) {
      throw wrongShape(file, weight, "[outputs, %d], the model's hidden size".formatted(inputs));
    }
    if (biases != null && !biases.hasShape(shape[0])) {
      throw wrongShape(file, biases, "[" + shape[0] + "]");
    }
    float[] rows = finite(file, weight);
    int outputs = rows.length / inputs;
    float[] transposed = new float[rows.length];
    for (int output = 0; output < outputs; output++) {
      for (int input = 0; input < inputs; input++) {
        transposed[input * outputs + output] = rows[output * inputs + input];
      }
    }
    return new DenseLayer(
        inputs,
        transposed,
        biases == null ? new float[outputs] : finite(file, biases),
        location.activation());
  }

  private static ModelLoadException wrongShape(
      SafetensorsFile file, TensorEntry entry, String expected) {
    return new ModelLoadException(
        "%s: %s has shape %s; expected %s"
            .formatted(file.path(), entry.name(), Arrays.toString(entry.shape()), expected));
  }

  private static float[] finite(SafetensorsFile file, TensorEntry entry) {
    float[] values = entry.readFloats();
    for (float value : values) {
      if (!Float.isFinite(value)) {
        throw new ModelLoadException(
            "%s: %s has values that are not finite".formatted(file.path(), entry.name()));
      }
    }
    return values;
  }

  /** Returns the length of its vectors. */
  public int outputs() {
    return bias.length;
  }

  /**
   * Applies the layer.
   *
   * @param vector {@code [inputs]}
   * @return a new vector, {@code [outputs]}
   */
  public float[] apply(float[] vector) {
    if (vector.length != inputs) {
      throw new IllegalArgumentException(
          "the vector has %d components; expected %d".formatted(vector.length, inputs));
    }
    float[] result = bias.clone();
    for (int input = 0; input < inputs; input++) {
      float factor = vector[input];
      int row = input * result.length;
      for (int output = 0; output < result.length; output++) {
        result[output] += factor * transposed[row + output];
      }
    }
    if (activation == Activation.TANH) {
      for (int output = 0; output < result.length; output++) {
        result[output] = (float) Math.tanh(result[output]);
      }
    }
    return result;
  }
}
