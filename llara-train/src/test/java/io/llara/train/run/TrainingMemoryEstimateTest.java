package io.llara.train.run;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.checkpoint.LlamaConfig;
import io.llara.tensor.Libtorch;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.TrainedModel;
import java.util.Optional;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class TrainingMemoryEstimateTest {
  private static final double GIB = 1L << 30;

  private static final LlamaConfig LLAMA_2_7B =
      LlamaConfig.builder()
          .hiddenSize(4096)
          .intermediateSize(11008)
          .layers(32)
          .heads(32)
          .kvHeads(32)
          .vocabularySize(32016)
          .build();

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  private static TrainingMemory estimate(
      Optional<LoraOptions> lora, boolean head, long rows, boolean recompute) {
    return TrainingMemory.estimate(
        LLAMA_2_7B,
        new TrainedModel.Settings(ScalarType.BFloat16, 512, head),
        lora,
        new TrainingMemory.Pass(rows, head ? 512 << 20 : 0),
        recompute);
  }

  @Test
  void sevenBillionParametersWithLoraTakeLessThan40GigabytesWhereLayersAreRecomputed() {
    Optional<LoraOptions> lora = Optional.of(LoraOptions.DEFAULT);
    TrainingMemory memory = estimate(lora, true, 16 * 512, true);

    assertThat(memory.weights() / GIB).isBetween(12.5, 12.6); // 6.74 billion in two bytes.
    // 160 million: value, moments, two gradients, and the value in two bytes.
    assertThat(memory.trained()).isEqualTo(159_907_840L * 22);
    assertThat(memory.total()).isLessThan(40_000_000_000L);
    assertThat(estimate(lora, true, 16 * 512, false).total()).isGreaterThan(40_000_000_000L);
    assertThat(
            estimate(Optional.of(LoraOptions.DEFAULT.withDropout(0.1)), true, 8192, true).total())
        .isBetween(memory.total(), 40_000_000_000L);
  }

  @Test
  void allParametersTakeSeveralTimesTheModel() {
    TrainingMemory memory = estimate(Optional.empty(), false, 512, true);

    assertThat(memory.weights()).isZero();
    assertThat(memory.trained() / GIB).isBetween(130.0, 140.0);
  }
}
