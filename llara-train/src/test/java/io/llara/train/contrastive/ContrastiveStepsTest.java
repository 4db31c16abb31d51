package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TinyLlama;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The replay of golden cases in llara-examples compares its numbers with the reference. */
class ContrastiveStepsTest {
  private static final InfoNce LOSS = new InfoNce(0.05, true);
  private static final TinyPairs PAIRS = TinyPairs.random(3, 2, 6);
  private static final String MODULE = "layers.1.mlp.up_proj";

  @TempDir Path dir;
  private Path model;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  @BeforeEach
  void writeModel() {
    model = TinyLlama.write(dir.resolve("model"), TinyLlama.config(2, false, false), 12);
  }

  private ContrastiveSteps adapter(Path adapter) {
    CheckpointDirectory base = CheckpointDirectory.open(model);
    TrainedModel trained =
        TrainedModel.adapter(
            base,
            new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, false),
            LoraAdapter.open(adapter, base.config()),
            0);
    return new ContrastiveSteps(trained, LOSS, AdamW.Settings.DEFAULT, 0);
  }

  /** Writes an adapter of one module, with another alpha than the rest, and more if wanted. */
  private Path writeAdapter(SafetensorsWriter more) throws IOException {
    Path adapter = Files.createDirectories(dir.resolve("adapter"));
    Files.writeString(
        adapter.resolve("adapter_config.json"),
        """
        {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": "all",
         "rank_pattern": {"up_proj": 2}, "alpha_pattern": {"up_proj": 8}}
        """);
    String prefix = "base_model.model.model." + MODULE;
    more.add(prefix + ".lora_A.weight", StorageType.F32, new long[] {2, 8}, Numbers.random(16, 1))
        .add(prefix + ".lora_B.weight", StorageType.F32, new long[] {12, 2}, Numbers.random(24, 2))
        .write(adapter.resolve("adapter_model.safetensors"));
    return adapter;
  }

  @Test
  void updatesLowerTheLossAndTheNamesAreCanonical() {
    try (ContrastiveSteps steps =
        new ContrastiveSteps(TinyLlama.trained(model, false), LOSS, AdamW.Settings.DEFAULT, 2)) {
      double first = steps.run(PAIRS.queries(), PAIRS.passages()).loss();
      assertThat(steps.shapes().get("norm.weight")).containsExactly(8);
      assertThat(steps.parameters()).doesNotContainKey("lm_head.weight");
      for (int i = 0; i < 10; i++) {
        steps.update(3e-3);
        steps.run(PAIRS.queries(), PAIRS.passages());
      }
      assertThat(steps.run(PAIRS.queries(), PAIRS.passages()).loss()).isLessThan(0.7 * first);
    }
  }

  /** The chain rule: ∂L/∂B = s ∂L/∂W Aᵀ, of the weight that the adapter is merged into. */
  @Test
  void anAdapterGoesOnFromItsOwnFactorsWithItsOwnScale() throws IOException {
    Path adapter = writeAdapter(new SafetensorsWriter());
    try (ContrastiveSteps steps = adapter(adapter)) {
      double loss = steps.run(PAIRS.queries(), PAIRS.passages()).loss();
      Map<String, float[]> parameters = steps.parameters();
      assertThat(parameters).containsOnlyKeys(MODULE + ".lora_A.weight", MODULE + ".lora_B.weight");
      assertThat(parameters.get(MODULE + ".lora_A.weight")).isEqualTo(Numbers.random(16, 1));
      assertThat(parameters.get(MODULE + ".lora_B.weight")).isEqualTo(Numbers.random(24, 2));

      // The length of the gradient by B follows from the growth of the loss along it.
      float[] gradient = steps.gradients().get(MODULE + ".lora_B.weight");
      double squares = 0;
      for (float value : gradient) {
        squares += (double) value * value;
      }
      assertThat(squares).isPositive();
      double reach = 0.005 / Math.sqrt(squares);
      float[] moved = Numbers.random(24, 2);
      for (int i = 0; i < moved.length; i++) {
        moved[i] += (float) (gradient[i] * reach / Math.sqrt(squares));
      }
      SafetensorsWriter writer = new SafetensorsWriter();
      String prefix = "base_model.model.model." + MODULE;
      writer
          .add(prefix + ".lora_A.weight", StorageType.F32, new long[] {2, 8}, Numbers.random(16, 1))
          .add(prefix + ".lora_B.weight", StorageType.F32, new long[] {12, 2}, moved)
          .write(adapter.resolve("adapter_model.safetensors"));
      try (ContrastiveSteps after = adapter(adapter)) {
        double growth = after.run(PAIRS.queries(), PAIRS.passages()).loss() - loss;
        assertThat(growth).isBetween(0.9 * 0.005, 1.1 * 0.005);
      }
    }
  }

  @Test
  void refusesAnAdapterOfMoreThanLayers() throws IOException {
    Path saved =
        writeAdapter(
            new SafetensorsWriter()
                .add(
                    "base_model.model.model.norm.weight",
                    StorageType.F32,
                    new long[] {8},
                    new float[8]));
    assertThatThrownBy(() -> adapter(saved))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(saved.toString())
        .hasMessageContaining("norm.weight");
    Path head =
        writeAdapter(
            new SafetensorsWriter()
                .add(
                    "base_model.model.lm_head.lora_A.weight",
                    StorageType.F32,
                    new long[] {3, 8},
                    new float[24])
                .add(
                    "base_model.model.lm_head.lora_B.weight",
                    StorageType.F32,
                    new long[] {40, 3},
                    new float[120]));
    assertThatThrownBy(() -> adapter(head))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("lm_head");
  }

  @Test
  void refusesGroupsOfDifferentSizes() {
    try (ContrastiveSteps steps =
        new ContrastiveSteps(TinyLlama.trained(model, false), LOSS, AdamW.Settings.DEFAULT, 0)) {
      for (int passages : new int[] {0, 4}) {
        assertThatThrownBy(() -> steps.run(PAIRS.queries(), PAIRS.passages().subList(0, passages)))
            .isInstanceOf(IllegalArgumentException.class);
      }
      assertThatThrownBy(() -> steps.run(List.of(), PAIRS.passages()))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }
}
