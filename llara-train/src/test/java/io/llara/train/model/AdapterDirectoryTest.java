package io.llara.train.model;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LoraAdapter;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.StorageType;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Shared;
import io.llara.train.autograd.Parameter;
import io.llara.train.checkpoint.ModelDirectory;
import io.llara.train.lora.LoraOptions;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TrainingRuns;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** An adapter with its base is the merged model, for our loader and by the names that PEFT uses. */
class AdapterDirectoryTest {
  private static final LoraOptions OPTIONS =
      LoraOptions.DEFAULT.withRank(3).withAlpha(2).withTargets(Set.of("q_proj", "down_proj"));
  private static final int[] MARKERS = {512, 513, 520, 527};

  @TempDir Path dir;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  /** A model as after some training: the outer factors are no zeros, and the rows not as stored. */
  private static TrainedModel trained(Path base, int[] rows) {
    TrainedModel model =
        TrainedModel.lora(
            CheckpointDirectory.open(base),
            new TrainedModel.Settings(ScalarType.Float, 128, true),
            OPTIONS,
            rows,
            5);
    for (Parameter parameter : model.parameters()) {
      try (TensorScope scope = new TensorScope()) {
        float[] values = Numbers.random((int) parameter.elements(), parameter.name().hashCode());
        for (int i = 0; i < values.length; i++) {
          values[i] *= 0.3f;
        }
        parameter.set(Tensors.ofFloats(values, parameter.master().shape()));
      }
    }
    model.refresh();
    return model;
  }

  private static float[] encode(EncoderBuilder builder, Mode mode) {
    try (Encoder encoder = builder.computeType(ComputeType.FLOAT32).threads(1).build()) {
      return encoder.encode("a little red bird", mode);
    }
  }

  @ParameterizedTest
  @CsvSource({"true, true", "true, false", "false, true", "false, false"})
  void withItsBaseItIsTheMergedModel(boolean tied, boolean rows) {
    Path base = TrainingRuns.model(dir, tied);
    Path merged = dir.resolve("merged");
    Path adapter = dir.resolve("adapter");
    try (TrainedModel model = trained(base, rows ? MARKERS : new int[0])) {
      // Twice: it takes the place of what is there.
      AdapterDirectory.write(model, OPTIONS, base, adapter);
      AdapterDirectory.write(model, OPTIONS, base, adapter);
      try (MergedWeights weights = model.weights()) {
        ModelDirectory.write(base, merged, weights, StorageType.F32, Optional.empty());
      }
    }
    for (Mode mode : Mode.values()) {
      float[] expected = encode(Encoder.builder(merged), mode);
      Numbers.assertClose(
          mode.name(), encode(Encoder.builder(base).adapter(adapter), mode), expected, 1e-6);
      assertThat(encode(Encoder.builder(base), mode)).isNotEqualTo(expected);
    }
    LoraAdapter read = LoraAdapter.open(adapter, CheckpointDirectory.open(base).config());
    assertThat(read.pairs())
        .containsOnlyKeys(
            "layers.0.self_attn.q_proj.weight",
            "layers.0.mlp.down_proj.weight",
            "layers.1.self_attn.q_proj.weight",
            "layers.1.mlp.down_proj.weight")
        .allSatisfy((name, pair) -> assertThat(pair.scale()).isEqualTo(2.0 / 3));
    assertThat(read.replacements().keySet())
        .isEqualTo(rows ? Set.of(LlamaTensors.EMBEDDING) : Set.of());
  }

  @Test
  void namesAndKeysAreThoseOfPeft() throws IOException {
    Path reference = Shared.require().resolve("golden/lora");
    Path base = Shared.require().resolve("golden/llama-mha");
    Path adapter = dir.resolve("adapter");
    LoraOptions eight = LoraOptions.DEFAULT.withRank(8);
    try (TrainedModel model =
        TrainedModel.lora(
            CheckpointDirectory.open(base),
            new TrainedModel.Settings(ScalarType.Float, 128, true),
            eight,
            new int[0],
            5)) {
      AdapterDirectory.write(model, eight, base, adapter);
    }
    assertThat(names(adapter)).isEqualTo(bothNames(names(reference)));
    JsonObject expected = config(reference);
    JsonObject actual = config(adapter);
    actual
        .asMap()
        .forEach(
            (key, value) -> {
              if (key.equals("lora_alpha")) {
                assertThat(value.getAsDouble()).isEqualTo(expected.get(key).getAsDouble());
              } else if (!key.equals("base_model_name_or_path")) {
                assertThat(value).as(key).isEqualTo(expected.get(key));
              }
            });
    assertThat(actual.get("base_model_name_or_path").getAsString())
        .isEqualTo(base.toAbsolutePath().normalize().toString());
    assertThat(actual.keySet())
        .contains("peft_type", "r", "lora_alpha", "target_modules", "task_type");
  }

  private static Set<String> names(Path adapter) {
    return SafetensorsFile.open(adapter.resolve("adapter_model.safetensors")).entries().keySet();
  }

  /** The names of an adapter of a LlamaForCausalLM, and those on the decoder alone. */
  private static Set<String> bothNames(Set<String> names) {
    return names.stream()
        .flatMap(name -> Stream.of(name, name.replace("model.model.", "model.")))
        .collect(Collectors.toSet());
  }

  private static JsonObject config(Path adapter) throws IOException {
    return JsonParser.parseString(Files.readString(adapter.resolve("adapter_config.json")))
        .getAsJsonObject();
  }
}
