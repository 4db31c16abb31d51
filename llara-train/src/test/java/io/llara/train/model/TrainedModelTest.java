package io.llara.train.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.UnsupportedModelException;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.model.LlamaModel;
import io.llara.prompt.Prompt;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.testing.ReferenceLlama;
import io.llara.train.autograd.Parameter;
import io.llara.train.autograd.Stage;
import io.llara.train.lora.LoraOptions;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TinyLlama;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class TrainedModelTest {
  private static final int[] ROWS = {3, 17, 39};

  @TempDir Path dir;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  private CheckpointDirectory checkpoint(boolean tied) {
    return CheckpointDirectory.open(
        TinyLlama.write(dir.resolve("tied " + tied), TinyLlama.config(2, tied, false), 4));
  }

  private static TrainedModel lora(CheckpointDirectory checkpoint, ScalarType type, long seed) {
    LoraOptions options = LoraOptions.DEFAULT.withRank(2).withTargets(Set.of("q_proj", "up_proj"));
    return TrainedModel.lora(
        checkpoint,
        new TrainedModel.Settings(type, TinyLlama.POSITIONS, true),
        options,
        ROWS,
        seed);
  }

  private static float[] hiddenStates(TrainedModel model, Prompt prompt) {
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      AttentionMask mask = AttentionMaskFactory.create(List.of(prompt), Layout.packed());
      int[] rows = new int[prompt.length()];
      Arrays.setAll(rows, row -> row);
      LlamaModel.Pass pass = model.model().pass(mask, rows);
      Tensor hidden = pass.embed();
      for (Stage stage : model.stages(pass)) {
        hidden = stage.function().apply(hidden);
      }
      return Tensors.toFloats(hidden);
    }
  }

  private static float[] reference(CheckpointDirectory checkpoint, Prompt prompt) {
    double[][] rows = new ReferenceLlama(checkpoint).hiddenStates(prompt);
    float[] flat = new float[rows.length * rows[0].length];
    for (int i = 0; i < flat.length; i++) {
      flat[i] = (float) rows[i / rows[0].length][i % rows[0].length];
    }
    return flat;
  }

  @ParameterizedTest
  @CsvSource({"Float, 1e-5", "BFloat16, 5e-2"})
  void theModelBeginsAsTheCheckpointIs(ScalarType type, double tolerance) {
    CheckpointDirectory checkpoint = checkpoint(false);
    Prompt prompt = TinyLlama.joint(1, 3).get(0);
    float[] expected = reference(checkpoint, prompt);
    try (TrainedModel full =
            TrainedModel.full(
                checkpoint, new TrainedModel.Settings(type, TinyLlama.POSITIONS, true));
        TrainedModel lora = lora(checkpoint, type, 1)) {
      Numbers.assertClose("full", hiddenStates(full, prompt), expected, tolerance);
      // The outer factors begin as zeros.
      Numbers.assertClose("lora", hiddenStates(lora, prompt), expected, tolerance);
    }
  }

  @ParameterizedTest
  @CsvSource({"false", "true"})
  void allWeightsTrainOnce(boolean tied) {
    CheckpointDirectory checkpoint = checkpoint(tied);
    try (TrainedModel model =
        TrainedModel.full(
            checkpoint, new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, true))) {
      assertThat(model.parameters())
          .extracting(Parameter::name)
          .containsExactlyInAnyOrderElementsOf(checkpoint.tensors().keySet());
      assertThat(model.headIsEmbedding()).isEqualTo(tied);
      assertThat(model.parameter("layers.0.mlp.up_proj.weight")).isPresent();
      assertThat(model.parameter("layers.9.mlp.up_proj.weight")).isEmpty();
      assertThat(model.trainedRows()).isEmpty();
    }
  }

  @Test
  void loraTrainsFactorsOfItsTargetsAndSomeRows() {
    try (TrainedModel model = lora(checkpoint(false), ScalarType.Float, 1)) {
      assertThat(model.parameters())
          .extracting(Parameter::name)
          .containsExactly(
              "embed_tokens.rows",
              "layers.0.self_attn.q_proj.lora_A.weight",
              "layers.0.self_attn.q_proj.lora_B.weight",
              "layers.0.mlp.up_proj.lora_A.weight",
              "layers.0.mlp.up_proj.lora_B.weight",
              "layers.1.self_attn.q_proj.lora_A.weight",
              "layers.1.self_attn.q_proj.lora_B.weight",
              "layers.1.mlp.up_proj.lora_A.weight",
              "layers.1.mlp.up_proj.lora_B.weight");
      for (Parameter parameter : model.parameters()) {
        float[] values = values(parameter);
        if (parameter.name().contains("lora_A")) {
          // Uniform within 1 / √in.
          assertThat(Numbers.largest(values)).isBetween(0.5 / Math.sqrt(8), 1 / Math.sqrt(8));
        } else if (parameter.name().contains("lora_B")) {
          assertThat(values).containsOnly(0);
        }
      }
    }
  }

  private static float[] values(Parameter parameter) {
    try (TensorScope scope = new TensorScope()) {
      return Tensors.toFloats(parameter.master());
    }
  }

  @Test
  void theSeedDecidesTheInnerFactorsAndNoTwoAreTheSame() {
    CheckpointDirectory checkpoint = checkpoint(false);
    try (TrainedModel model = lora(checkpoint, ScalarType.Float, 1);
        TrainedModel same = lora(checkpoint, ScalarType.Float, 1);
        TrainedModel other = lora(checkpoint, ScalarType.Float, 2)) {
      Map<String, float[]> drawn = new LinkedHashMap<>();
      for (Parameter parameter : model.parameters()) {
        if (parameter.name().contains("lora_A")) {
          float[] values = values(parameter);
          drawn.forEach((name, before) -> assertThat(values).as(name).isNotEqualTo(before));
          drawn.put(parameter.name(), values);
          assertThat(values(same.parameter(parameter.name()).orElseThrow())).isEqualTo(values);
          assertThat(values(other.parameter(parameter.name()).orElseThrow())).isNotEqualTo(values);
        }
      }
      assertThat(drawn).hasSize(4);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"Float", "BFloat16"})
  void trainedRowsAreLookedUpOnceTheyAreRefreshed(ScalarType type) {
    CheckpointDirectory checkpoint = checkpoint(true);
    try (TrainedModel model = lora(checkpoint, type, 1);
        TensorScope scope = new TensorScope()) {
      Parameter rows = model.parameter("embed_tokens.rows").orElseThrow();
      float[] before = Tensors.toFloats(model.head());
      float[] values = new float[ROWS.length * 8];
      Arrays.fill(values, 5);
      rows.set(Tensors.ofFloats(values, ROWS.length, 8));
      model.refresh();
      float[] after = Tensors.toFloats(model.head());
      for (int row = 0; row < TinyLlama.VOCABULARY; row++) {
        float[] now = Arrays.copyOfRange(after, row * 8, row * 8 + 8);
        if (Arrays.binarySearch(ROWS, row) >= 0) {
          assertThat(now).containsOnly(5);
        } else {
          assertThat(now).isEqualTo(Arrays.copyOfRange(before, row * 8, row * 8 + 8));
        }
      }
      // The model reads the same memory.
      Prompt prompt = Prompt.plain(new int[] {17});
      AttentionMask mask = AttentionMaskFactory.create(List.of(prompt), Layout.packed());
      float[] embedded = Tensors.toFloats(model.model().pass(mask, new int[] {0}).embed());
      assertThat(Arrays.copyOf(embedded, 8)).containsOnly(5);
    }
  }

  @Test
  void mergedWeightsOfAnUntrainedModelAreThoseOfTheCheckpoint() {
    CheckpointDirectory checkpoint = checkpoint(false);
    for (ScalarType type : new ScalarType[] {ScalarType.Float, ScalarType.BFloat16}) {
      try (TrainedModel full =
              TrainedModel.full(
                  checkpoint, new TrainedModel.Settings(type, TinyLlama.POSITIONS, true));
          TrainedModel lora = lora(checkpoint, type, 1)) {
        for (TrainedModel model : List.of(full, lora)) {
          try (MergedWeights weights = model.weights()) {
            checkpoint
                .tensors()
                .forEach(
                    (name, entry) -> {
                      try (TensorScope scope = new TensorScope()) {
                        Tensor value = weights.weight(name);
                        // In full precision, whatever is computed in.
                        assertThat(Tensors.toFloats(value)).as(name).isEqualTo(entry.readFloats());
                      }
                    });
          }
        }
      }
    }
  }

  @Test
  void aModelWithoutAHeadIsRefusedAndLeavesNothing() throws Throwable {
    CheckpointDirectory whole = checkpoint(false);
    Path file = whole.path().resolve("model.safetensors");
    SafetensorsWriter writer = new SafetensorsWriter();
    SafetensorsFile.open(file)
        .entries()
        .forEach(
            (name, entry) -> {
              if (!name.equals("lm_head.weight")) {
                writer.add(name, StorageType.F32, entry.shape(), entry.readFloats());
              }
            });
    writer.write(file);
    CheckpointDirectory headless = CheckpointDirectory.open(whole.path());
    Leaks.assertNone(
        () ->
            assertThatThrownBy(
                    () ->
                        TrainedModel.full(
                            headless,
                            new TrainedModel.Settings(ScalarType.Float, TinyLlama.POSITIONS, true)))
                .isInstanceOf(UnsupportedModelException.class)
                .hasMessageContaining("lm_head.weight"));
  }

  @Test
  void closingFreesEverything() throws Throwable {
    for (boolean tied : new boolean[] {false, true}) {
      CheckpointDirectory checkpoint = checkpoint(tied);
      for (ScalarType type : new ScalarType[] {ScalarType.Float, ScalarType.BFloat16}) {
        Leaks.assertNone(
            () -> {
              TrainedModel.full(
                      checkpoint, new TrainedModel.Settings(type, TinyLlama.POSITIONS, true))
                  .close();
              try (TrainedModel model = lora(checkpoint, type, 1)) {
                model.refresh();
                model.weights().close();
              }
            });
      }
    }
  }
}
