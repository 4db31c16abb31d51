package io.llara.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.RopeScaling;
import io.llara.kernels.Kernels.Rotation;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;

class RotaryEmbeddingTest {

  private static LlamaConfig config(int headDim, double theta, RopeScaling scaling) {
    return LlamaConfig.builder()
        .hiddenSize(8)
        .intermediateSize(8)
        .layers(1)
        .heads(1)
        .headDim(headDim)
        .vocabularySize(8)
        .ropeTheta(theta)
        .ropeScaling(scaling)
        .build();
  }

  @Test
  void frequenciesFallGeometricallyFromOne() {
    double[] frequencies =
        RotaryEmbedding.inverseFrequencies(config(8, 10_000, RopeScaling.none()));

    assertThat(frequencies).containsExactly(new double[] {1, 0.1, 0.01, 0.001}, within(1e-15));
  }

  @Test
  void linearScalingDividesAll() {
    double[] frequencies =
        RotaryEmbedding.inverseFrequencies(config(4, 10_000, new RopeScaling.Linear(4)));

    assertThat(frequencies).containsExactly(new double[] {0.25, 0.0025}, within(1e-15));
  }

  @Test
  void llama3KeepsShortWavesAndDividesLongOnes() {
    // 64 positions: a wave of 2π turns ten times, one of 62.8 once, one of 628 a tenth of a time.
    double[] frequencies =
        RotaryEmbedding.inverseFrequencies(config(6, 1000, new RopeScaling.Llama3(8, 1, 4, 64)));

    double turns = 64 * 0.1 / (2 * Math.PI);
    double blended = (turns - 1) / 3 * 0.1 + (1 - (turns - 1) / 3) * 0.1 / 8;
    assertThat(frequencies).containsExactly(new double[] {1, blended, 0.01 / 8}, within(1e-12));
  }

  @Test
  void theTableHoldsCosinesAndSinesOfPositions() {
    Libtorch.load();
    try (TensorScope scope = new TensorScope();
        RotaryEmbedding rotary =
            RotaryEmbedding.create(
                config(4, 10_000, RopeScaling.none()), 9, ScalarType.Float, torch.empty(0))) {
      Rotation rotation = rotary.at(new int[] {8, 0, 8});

      float[] cos = Tensors.toFloats(rotation.cos());
      float[] sin = Tensors.toFloats(rotation.sin());
      assertThat(cos)
          .startsWith(
              (float) Math.cos(8),
              (float) Math.cos(0.08),
              (float) Math.cos(8),
              (float) Math.cos(0.08));
      assertThat(sin)
          .startsWith(
              (float) Math.sin(-8),
              (float) Math.sin(-0.08),
              (float) Math.sin(8),
              (float) Math.sin(0.08))
          .endsWith((float) Math.sin(8), (float) Math.sin(0.08));
    }
  }

  @Test
  void refusesPositionsBeyondTheTable() {
    Libtorch.load();
    try (RotaryEmbedding rotary =
        RotaryEmbedding.create(
            config(4, 10_000, RopeScaling.none()), 9, ScalarType.Float, torch.empty(0))) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> rotary.at(new int[] {3, 9}))
          .withMessageContaining("9");
      assertThatIllegalArgumentException().isThrownBy(() -> rotary.at(new int[] {-1}));
    }
  }
}
