package io.llara.train.checkpoint;

import static io.llara.train.checkpoint.TestModels.HIDDEN;
import static io.llara.train.checkpoint.TestModels.assertHolds;
import static io.llara.train.checkpoint.TestModels.change;
import static io.llara.train.checkpoint.TestModels.entries;
import static io.llara.train.checkpoint.TestModels.json;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.Similarity;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.prompt.PromptTemplate;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ModelDirectoryTest {
  private static final String[] FILES = {
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json"
  };
  private static final Optional<LlaraJson> NO_SETTINGS = Optional.empty();

  @TempDir Path temp;
  private Path source;
  private Path out;
  private TensorScope scope;

  @BeforeEach
  void copy() throws IOException {
    Libtorch.load();
    scope = new TensorScope();
    source = TestModels.stories(temp.resolve("source"));
    Files.delete(source.resolve("expected.json"));
    out = temp.resolve("out");
  }

  @AfterEach
  void close() {
    scope.close();
  }

  /** The weights of the source, changed, by canonical name. */
  private Map<String, Tensor> weights(Consumer<float[]> change) {
    Map<String, Tensor> weights = new LinkedHashMap<>();
    CheckpointDirectory.open(source)
        .tensors()
        .forEach(
            (name, entry) -> {
              float[] values = entry.readFloats();
              change.accept(values);
              weights.put(name, Tensors.ofFloats(values, entry.shape()));
            });
    return weights;
  }

  private Map<String, Tensor> weights() {
    return weights(values -> {});
  }

  @Test
  void weightsAreReplacedAndTheRestIsCopied() {
    ModelDirectory.write(
        source, out, weights(values -> values[0] = 42)::get, StorageType.F32, NO_SETTINGS);
    assertHolds(out, FILES);
    assertThat(entries(out).keySet()).isEqualTo(entries(source).keySet());
    entries(source)
        .forEach(
            (name, entry) -> {
              float[] expected = entry.readFloats();
              expected[0] = 42;
              assertThat(entries(out).get(name).readFloats()).as(name).isEqualTo(expected);
            });
    assertThat(json(out.resolve("config.json"))).isEqualTo(json(source.resolve("config.json")));
    for (int i = 2; i < FILES.length; i++) {
      assertThat(out.resolve(FILES[i])).hasSameBinaryContentAs(source.resolve(FILES[i]));
    }
    assertHolds(temp, "source", "out");
  }

  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void theTypeIsStoredAndNamed(StorageType type) {
    change(
        source.resolve("config.json"),
        config -> {
          config.remove("torch_dtype");
          config.addProperty("dtype", "float32");
        });
    ModelDirectory.write(source, out, weights()::get, type, NO_SETTINGS);
    assertThat(entries(out).values()).allMatch(entry -> entry.type() == type);
    assertThat(json(out.resolve("config.json")).get("dtype").getAsString())
        .isEqualTo(type == StorageType.F16 ? "float16" : "bfloat16");
    assertThat(json(out.resolve("config.json")).has("torch_dtype")).isFalse();
  }

  @Test
  void theEncoderTakesIt() {
    Path marked = temp.resolve("marked");
    VocabularyGrowth.addMarkers(source, marked, 1);
    Map<String, Tensor> grown = new LinkedHashMap<>();
    CheckpointDirectory.open(marked)
        .tensors()
        .forEach(
            (name, entry) -> grown.put(name, Tensors.ofFloats(entry.readFloats(), entry.shape())));
    ModelDirectory.write(marked, out, grown::get, StorageType.F32, NO_SETTINGS);
    try (Encoder before = Encoder.load(marked);
        Encoder after = Encoder.load(out)) {
      for (Mode mode : Mode.values()) {
        float[] vector = after.encode("A llama in the hills.", mode);
        assertThat(vector).hasSize(HIDDEN);
        assertThat(Similarity.cosine(vector, before.encode("A llama in the hills.", mode)))
            .isCloseTo(1, within(1e-6));
      }
    }
  }

  @Test
  void settingsAreTheGivenOnesOrTheSources() {
    LlaraJson given =
        new LlaraJson(PromptTemplate.PAPER, true, OptionalInt.of(64), OptionalInt.of(128));
    ModelDirectory.write(source, out, weights()::get, StorageType.F32, Optional.of(given));
    assertThat(CheckpointDirectory.open(out).llaraJson()).contains(given);
    Path again = temp.resolve("again");
    ModelDirectory.write(out, again, weights()::get, StorageType.F32, NO_SETTINGS);
    assertThat(CheckpointDirectory.open(again).llaraJson()).contains(given);
  }

  @Test
  void aBareModelIsWrittenAsOneWithAHead() {
    SafetensorsWriter bare = new SafetensorsWriter();
    CheckpointDirectory.open(source)
        .tensors()
        .forEach((name, entry) -> bare.add(name, entry.type(), entry.shape(), entry.readFloats()));
    bare.write(source.resolve("model.safetensors"));
    change(
        source.resolve("config.json"),
        config -> {
          JsonArray architectures = new JsonArray();
          architectures.add("LlamaModel");
          config.add("architectures", architectures);
        });
    ModelDirectory.write(source, out, weights()::get, StorageType.F32, NO_SETTINGS);
    assertThat(CheckpointDirectory.open(out).config().architecture()).isEqualTo("LlamaForCausalLM");
    assertThat(entries(out)).containsKey("model." + LlamaTensors.EMBEDDING);
  }

  @Test
  void aHeadOfItsOwnIsWrittenUnderItsName() throws IOException {
    TestModels.shard(source, StorageType.F32, TestModels.rows(TestModels.VOCABULARY));
    change(
        source.resolve("config.json"), config -> config.addProperty("tie_word_embeddings", false));
    ModelDirectory.write(source, out, weights()::get, StorageType.F32, NO_SETTINGS);
    assertHolds(out, FILES);
    assertThat(entries(out).get("lm_head.weight").readFloats())
        .isEqualTo(TestModels.rows(TestModels.VOCABULARY));
  }

  @Test
  void weightsMayBeMadeOneAfterAnother() throws Throwable {
    int[] count = new int[1];
    CheckpointDirectory checkpoint = CheckpointDirectory.open(source);
    Leaks.assertNone(
        () ->
            ModelDirectory.write(
                source,
                temp.resolve("out" + count[0]++),
                name ->
                    Tensors.ofFloats(
                        checkpoint.tensor(name).readFloats(), checkpoint.tensor(name).shape()),
                StorageType.F32,
                NO_SETTINGS));
    assertThat(temp.resolve("out0/model.safetensors"))
        .hasSameBinaryContentAs(temp.resolve("out1/model.safetensors"));
    assertThat(entries(temp.resolve("out0")).get("model.norm.weight").readFloats())
        .isEqualTo(entries(source).get("model.norm.weight").readFloats());
  }

  @Test
  void otherShapesThanTheSourcesAreRefused() {
    Map<String, Tensor> wrong = weights();
    wrong.put(LlamaTensors.FINAL_NORM, Tensors.ofFloats(new float[32], 32));
    assertThatThrownBy(
            () -> ModelDirectory.write(source, out, wrong::get, StorageType.F32, NO_SETTINGS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContainingAll(LlamaTensors.FINAL_NORM, "[32]", "[64]");
    assertHolds(out);
  }

  @Test
  void valuesThatAreNoNumbersAreRefused() {
    for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
      Map<String, Tensor> weights = weights();
      weights.put(LlamaTensors.FINAL_NORM, norm(bad));
      assertThatThrownBy(
              () -> ModelDirectory.write(source, out, weights::get, StorageType.F32, NO_SETTINGS))
          .isInstanceOf(LlaraException.class)
          .hasMessageContainingAll(LlamaTensors.FINAL_NORM, "finite", "F32");
    }
    assertHolds(out);
  }

  @Test
  void valuesTooLargeForTheTypeAreRefused() {
    Map<String, Tensor> weights = weights();
    weights.put(LlamaTensors.FINAL_NORM, norm(-70_000));
    assertThatThrownBy(
            () -> ModelDirectory.write(source, out, weights::get, StorageType.F16, NO_SETTINGS))
        .isInstanceOf(LlaraException.class)
        .hasMessageContainingAll(LlamaTensors.FINAL_NORM, "F16");
    ModelDirectory.write(source, out, weights::get, StorageType.BF16, NO_SETTINGS);
  }

  private static Tensor norm(float last) {
    float[] values = new float[HIDDEN];
    values[HIDDEN - 1] = last;
    return Tensors.ofFloats(values, HIDDEN);
  }

  @Test
  void placesThatDoNotDoAreNamed() throws IOException {
    Map<String, Tensor> weights = weights();
    Path file = Files.writeString(temp.resolve("file"), "");
    for (Path place : new Path[] {file, file.resolve("out")}) {
      assertThatThrownBy(
              () -> ModelDirectory.write(source, place, weights::get, StorageType.F32, NO_SETTINGS))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("file");
    }
    assertThatThrownBy(
            () ->
                ModelDirectory.write(
                    temp.resolve("none"), out, weights::get, StorageType.F32, NO_SETTINGS))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("none");
    assertThatThrownBy(
            () -> ModelDirectory.write(source, out, weights::get, StorageType.I32, NO_SETTINGS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("I32");
  }

  @Test
  void aModelBesideOtherFiles() throws IOException {
    Files.createDirectories(out.resolve("checkpoints"));
    Files.writeString(out.resolve("metrics.jsonl"), "{}");
    Files.createDirectory(out.resolve(".model.killed.tmp"));
    Files.writeString(out.resolve(".model.killed.tmp/model.safetensors"), "half");
    String[] all = {
      "checkpoints", "metrics.jsonl", FILES[0], FILES[1], FILES[2], FILES[3], FILES[4]
    };
    Map<String, Tensor> first = weights();
    ModelDirectory.write(source, out, first::get, StorageType.F32, NO_SETTINGS);
    assertHolds(out, all);
    assertThat(out.resolve("metrics.jsonl")).hasContent("{}");
    Map<String, Tensor> second = weights(values -> values[0] = 7);
    ModelDirectory.write(source, out, second::get, StorageType.BF16, NO_SETTINGS);
    assertHolds(out, all);
    assertThat(entries(out).get("model.norm.weight").readFloats()[0]).isEqualTo(7);
    assertThat(json(out.resolve("config.json")).get("torch_dtype").getAsString())
        .isEqualTo("bfloat16");
  }

  @Test
  void aFailedReplacementLeavesTheOldModel() throws IOException {
    Map<String, Tensor> good = weights();
    ModelDirectory.write(source, out, good::get, StorageType.F32, NO_SETTINGS);
    byte[] before = Files.readAllBytes(out.resolve("model.safetensors"));
    Map<String, Tensor> bad = weights(values -> values[1] = Float.NaN);
    assertThatThrownBy(
            () -> ModelDirectory.write(source, out, bad::get, StorageType.F32, NO_SETTINGS))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("finite");
    assertHolds(out, FILES);
    assertThat(out.resolve("model.safetensors")).hasBinaryContent(before);
    JsonObject config = json(out.resolve("config.json"));
    assertThat(config.get("torch_dtype").getAsString()).isEqualTo("float32");
  }
}
