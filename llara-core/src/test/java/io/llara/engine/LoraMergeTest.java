package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.ComputeType;
import io.llara.ModelLoadException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.testing.Leaks;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.Vectors;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** An adapted model equals one whose weights were changed by hand: W + scale · B A. */
class LoraMergeTest {
  private static final int RANK = 3;
  private static final double ALPHA = 6;
  private static final List<String> TARGETS =
      List.of("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj");

  private static final LlamaConfig CONFIG =
      LlamaConfig.builder()
          .hiddenSize(16)
          .intermediateSize(20)
          .layers(2)
          .heads(2)
          .kvHeads(1)
          .vocabularySize(30)
          .build();

  @TempDir Path base;
  @TempDir Path adapter;
  @TempDir Path merged;

  @BeforeEach
  void writeBase() {
    RandomCheckpoint.write(base, CONFIG, StorageType.F32, 1);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void equalsBasePlusScaledProduct(boolean rslora) throws Exception {
    writeAdapter(rslora, Map.of());
    writeMerged(rslora ? ALPHA / Math.sqrt(RANK) : ALPHA / RANK, Map.of());

    float[] expected = states(merged, null);
    Vectors.assertSame(states(base, adapter), expected);
    assertThat(states(base, null)).isNotEqualTo(expected);
  }

  @Test
  void takesWholeWeightsFromModulesToSave() throws Exception {
    long[] shape = {30, 16};
    Map<String, float[]> saved =
        Map.of("embed_tokens.weight", RandomCheckpoint.values("other", shape, 8));
    writeAdapter(false, saved);
    writeMerged(ALPHA / RANK, saved);

    Vectors.assertSame(states(base, adapter), states(merged, null));
  }

  @Test
  void mergesWithTheSameResultPackedAndPlain() throws Exception {
    writeAdapter(false, Map.of());

    Vectors.assertSame(states(base, adapter, false), states(base, adapter, true));
  }

  @Test
  void aMissingAdapterIsNamedAndNothingLeaks() throws Throwable {
    Leaks.assertNone(
        () ->
            assertThatThrownBy(() -> states(base, adapter.resolve("none")))
                .isInstanceOf(ModelLoadException.class)
                .hasMessageContaining("none"));
  }

  private static float[] states(Path model, Path adapter) {
    return states(model, adapter, true);
  }

  private static float[] states(Path model, Path adapter, boolean packed) {
    EngineBuilder options =
        EncodingEngine.builder()
            .computeType(ComputeType.FLOAT32)
            .threads(1)
            .packWeights(packed)
            .adapter(adapter);
    try (EncodingEngine engine = options.open(CheckpointDirectory.open(model))) {
      return engine.hiddenStates(Prompts.plain(9)).get(0);
    }
  }

  private void writeAdapter(boolean rslora, Map<String, float[]> saved) throws Exception {
    Files.writeString(
        adapter.resolve("adapter_config.json"),
        """
        {"peft_type": "LORA", "r": %d, "lora_alpha": %s, "bias": "none", "use_rslora": %s,
         "fan_in_fan_out": false, "target_modules": ["q_proj", "o_proj", "down_proj"],
         "modules_to_save": %s}
        """
            .formatted(RANK, ALPHA, rslora, saved.isEmpty() ? "null" : "[\"embed_tokens\"]"));
    SafetensorsWriter writer = new SafetensorsWriter();
    forEachTarget(
        (module, out, in) -> {
          String name = "base_model.model.model." + module;
          writer.add(
              name + ".lora_A.weight", StorageType.F32, new long[] {RANK, in}, a(module, in));
          writer.add(
              name + ".lora_B.weight", StorageType.F32, new long[] {out, RANK}, b(module, out));
        });
    saved.forEach(
        (name, values) ->
            writer.add(
                "base_model.model.model." + name, StorageType.F32, shapes().get(name), values));
    writer.write(adapter.resolve("adapter_model.safetensors"));
  }

  private void writeMerged(double scale, Map<String, float[]> saved) throws Exception {
    CheckpointDirectory original = CheckpointDirectory.open(base);
    Map<String, float[]> weights = new HashMap<>();
    original.tensors().forEach((name, entry) -> weights.put(name, entry.readFloats()));
    weights.putAll(saved);
    forEachTarget(
        (module, out, in) -> {
          float[] weight = weights.get(module + ".weight");
          float[] a = a(module, in);
          float[] b = b(module, out);
          for (int o = 0; o < out; o++) {
            for (int i = 0; i < in; i++) {
              double sum = 0;
              for (int r = 0; r < RANK; r++) {
                sum += b[o * RANK + r] * a[r * in + i];
              }
              weight[o * in + i] += (float) (scale * sum);
            }
          }
        });
    RandomCheckpoint.writeConfig(merged, CONFIG);
    SafetensorsWriter writer = new SafetensorsWriter();
    original
        .tensors()
        .forEach(
            (name, entry) -> writer.add(name, StorageType.F32, entry.shape(), weights.get(name)));
    writer.write(merged.resolve("model.safetensors"));
  }

  private static float[] a(String module, int in) {
    return RandomCheckpoint.values(module + ".A", new long[] {RANK, in}, 2);
  }

  private static float[] b(String module, int out) {
    return RandomCheckpoint.values(module + ".B", new long[] {out, RANK}, 3);
  }

  private static Map<String, long[]> shapes() {
    return LlamaTensors.required(CONFIG);
  }

  @FunctionalInterface
  private interface Target {
    void accept(String module, int out, int in);
  }

  private static void forEachTarget(Target action) {
    for (int layer = 0; layer < CONFIG.layers(); layer++) {
      for (String target : TARGETS) {
        String module = "layers." + layer + "." + target;
        long[] shape = shapes().get(module + ".weight");
        action.accept(module, (int) shape[0], (int) shape[1]);
      }
    }
  }
}
