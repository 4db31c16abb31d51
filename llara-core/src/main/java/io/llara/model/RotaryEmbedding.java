package io.llara.model;

import io.llara.checkpoint.LlamaConfig;
import io.llara.kernels.Kernels.Rotation;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The angles of rotary position embedding (arXiv 2104.09864), with the frequency scalings of LLaMA
 * checkpoints; a table up to a fixed position.
 */
public final class RotaryEmbedding implements AutoCloseable {
  private final Rotation table;

  private RotaryEmbedding(Rotation table) {
    this.table = table;
  }

  /**
   * Makes the table.
   *
   * @param positions the number of positions, from 0 on
   * @param beside a tensor on the device that the table is for
   */
  static RotaryEmbedding create(LlamaConfig config, int positions, ScalarType type, Tensor beside) {
    double[] frequencies = inverseFrequencies(config);
    int half = frequencies.length;
    int headDim = 2 * half;
    float[] cos = new float[Math.multiplyExact(positions, headDim)];
    float[] sin = new float[cos.length];
    for (int p = 0; p < positions; p++) {
      for (int i = 0; i < half; i++) {
        int first = p * headDim + i;
        int second = first + half;
        double angle = p * frequencies[i];
        cos[second] = (float) Math.cos(angle);
        sin[second] = (float) Math.sin(angle);
        cos[first] = cos[second];
        sin[first] = -sin[second];
      }
    }
    try (TensorScope scope = new TensorScope()) {
      Device device = beside.device();
      return new RotaryEmbedding(
          new Rotation(
              scope.own(Tensors.ofFloats(cos, positions, 1, headDim).to(device, type)),
              scope.own(Tensors.ofFloats(sin, positions, 1, headDim).to(device, type))));
    }
  }

  /** Returns the angle per position of each pair of components, {@code [headDim / 2]}. */
  public static double[] inverseFrequencies(LlamaConfig config) {
    int half = config.headDim() / 2;
    double[] frequencies = new double[half];
    for (int i = 0; i < half; i++) {
      frequencies[i] = config.ropeScaling().scale(Math.pow(config.ropeTheta(), -i / (double) half));
    }
    return frequencies;
  }

  /**
   * Returns the rotations of rows at positions.
   *
   * @throws IllegalArgumentException if a position lies beyond the table
   */
  Rotation at(int[] rowPositions) {
    long positions = table.cos().size(0);
    for (int position : rowPositions) {
      if (position < 0 || position >= positions) {
        throw new IllegalArgumentException(
            "position %d is outside of the %d this model was loaded for"
                .formatted(position, positions));
      }
    }
    try (TensorScope scope = new TensorScope()) {
      Rotation rows = table.of(Tensors.ofInts(rowPositions, table.cos()));
      return new Rotation(scope.keep(rows.cos()), scope.keep(rows.sin()));
    }
  }

  @Override
  public void close() {
    table.cos().close();
    table.sin().close();
  }
}
