package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.JsonObject;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.StorageType;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.Reserve;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Vectors;
import io.llara.tokenize.Tokenizer;
import io.llara.train.lora.LoraOptions;
import io.llara.train.run.CheckpointStore;
import io.llara.train.run.Manifest;
import io.llara.train.run.RunDirectory;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a complete run leaves: a model to encode with, and the records of how it came about. */
class TrainedDirectoryTest {
  private static final int HIDDEN = 16;
  private static final int RANK = 3;

  @TempDir static Path shared;
  private static Path tied;
  private static Path untied;
  private static Path data;
  @TempDir Path dir;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    tied = TrainingRuns.model(shared.resolve("tied"), true);
    untied = TrainingRuns.model(shared.resolve("untied"), false);
    data = Runs.data(shared, 25);
  }

  private Path full(Path model) {
    return TrainingRuns.complete(Runs.full(model, data, dir.resolve("out"))).model();
  }

  private Path lora(Path model) {
    return TrainingRuns.complete(Runs.lora(model, data, dir.resolve("out")).learningRate(1e-2))
        .model();
  }

  /**
   * Prompts that are neither recipe's: the model's own are kept, those asked for go before them.
   */
  @Test
  void aTemplateOfOnesOwnIsTrained() {
    PromptTemplate own =
        PromptTemplate.builder("own")
            .prefix("a ")
            .selfSuffix(" is")
            .nextSuffix(" then")
            .eos()
            .build();
    Path model = TrainingRuns.model(dir, true);
    new LlaraJson(own, true, OptionalInt.empty(), OptionalInt.empty()).write(model);
    Path kept = TrainingRuns.complete(Runs.full(model, data, dir.resolve("kept")).steps(2)).model();
    Path asked =
        TrainingRuns.complete(Runs.full(tied, data, dir.resolve("asked")).steps(2).template(own))
            .model();
    Path known =
        TrainingRuns.complete(
                Runs.full(model, data, dir.resolve("known"))
                    .steps(2)
                    .template(PromptTemplate.PAPER))
            .model();

    for (Path out : List.of(kept, asked)) {
      assertThat(LlaraJson.read(out.resolve(LlaraJson.FILE_NAME)).template()).isEqualTo(own);
      assertThat(RunDirectory.readSettings(out).orElseThrow())
          .containsEntry("template", own.toJson());
    }
    assertThat(TrainingRuns.metrics(kept)).isEqualTo(TrainingRuns.metrics(asked)).hasSize(2);
    assertThat(LlaraJson.read(known.resolve(LlaraJson.FILE_NAME)).template())
        .isEqualTo(PromptTemplate.PAPER);
    assertThatThrownBy(
            () -> TrainingRuns.complete(Runs.full(model, data, asked).steps(2).template(apart())))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("the template 'apart' cannot be adapted");
    assertThatThrownBy(() -> Runs.full(model, data, asked).recipe(Recipe.LM).template(own).build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no prompts to set");
  }

  private static PromptTemplate apart() {
    return PromptTemplate.builder("apart").selfPrefix("a:").nextPrefix("b:").eos().build();
  }

  private static Path model(boolean isTied) {
    return isTied ? tied : untied;
  }

  /** The tensors of the last step's checkpoint. */
  private static Map<String, float[]> checkpoint(Path out) {
    CheckpointStore.Saved saved = new CheckpointStore(out, 1).newest().orElseThrow();
    assertThat(saved.state().step()).isEqualTo(9);
    Map<String, float[]> values = new LinkedHashMap<>();
    for (String name : saved.names()) {
      try (TensorScope scope = new TensorScope()) {
        values.put(name, Tensors.toFloats(TensorScope.adopt(saved.load(name))));
      }
    }
    return values;
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void fullWeightsAreThoseOfTheLastStep(boolean isTied) {
    Path out = full(model(isTied));
    Map<String, float[]> checkpoint = checkpoint(out);
    Map<String, float[]> before = TrainingRuns.weights(model(isTied));
    Map<String, float[]> written = TrainingRuns.weights(out);
    assertThat(written).containsOnlyKeys(before.keySet());
    written.forEach(
        (name, values) -> {
          assertThat(values).as(name).isEqualTo(checkpoint.get("parameter/" + name));
          assertThat(values).as(name).isNotEqualTo(before.get(name));
        });
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void updatesOfLoraAreMergedAndEverythingElseIsAsItWas(boolean isTied) {
    Path out = lora(model(isTied));
    Map<String, float[]> checkpoint = checkpoint(out);
    Map<String, float[]> before = TrainingRuns.weights(model(isTied));
    Map<String, float[]> written = TrainingRuns.weights(out);
    assertThat(written).containsOnlyKeys(before.keySet());
    written.forEach(
        (name, values) -> {
          String module = "parameter/" + name.replaceFirst("\\.weight$", "");
          float[] a = checkpoint.get(module + ".lora_A.weight");
          if (name.equals("embed_tokens.weight")) {
            assertMarkersTrained(values, before.get(name), checkpoint);
          } else if (a == null) {
            assertThat(values).as(name).isEqualTo(before.get(name));
          } else {
            float[] merged = merged(before.get(name), a, checkpoint.get(module + ".lora_B.weight"));
            Numbers.assertClose(name, values, merged, 1e-6);
            assertThat(values).as(name).isNotEqualTo(before.get(name));
          }
        });
    // Two layers of seven updates with two factors, and the rows; for each, two moments.
    assertThat(checkpoint).hasSize(3 * (2 * 7 * 2 + 1));
  }

  private static float[] merged(float[] weight, float[] a, float[] b) {
    int in = a.length / RANK;
    double scale = LoraOptions.DEFAULT.alpha() / RANK;
    float[] merged = new float[weight.length];
    for (int i = 0; i < merged.length; i++) {
      double sum = weight[i];
      for (int r = 0; r < RANK; r++) {
        sum += scale * b[i / in * RANK + r] * a[r * in + i % in];
      }
      merged[i] = (float) sum;
    }
    return merged;
  }

  private static void assertMarkersTrained(
      float[] values, float[] before, Map<String, float[]> checkpoint) {
    float[] rows = checkpoint.get("parameter/embed_tokens.rows");
    int first = before.length - rows.length;
    assertThat(rows).hasSize(16 * HIDDEN);
    assertThat(Arrays.copyOf(values, first)).isEqualTo(Arrays.copyOf(before, first));
    assertThat(Arrays.copyOfRange(values, first, values.length)).isEqualTo(rows);
    Set<Integer> changed = new HashSet<>();
    for (int i = 0; i < rows.length; i++) {
      if (rows[i] != before[first + i]) {
        changed.add(i / HIDDEN);
      }
    }
    assertThat(changed).as("markers that were trained").hasSize(16);
  }

  @Test
  void markersStayAsTheyAreOnRequest() {
    Path out =
        TrainingRuns.complete(Runs.lora(tied, data, dir.resolve("out")).trainMarkers(false))
            .model();
    assertThat(TrainingRuns.weights(out).get("embed_tokens.weight"))
        .isEqualTo(TrainingRuns.weights(tied).get("embed_tokens.weight"));
  }

  @Test
  void theDirectoryEncodes() {
    Path out = lora(untied);
    try (Encoder trained = Encoder.load(out);
        Encoder before = Encoder.load(untied)) {
      assertThat(trained.template()).isEqualTo(PromptTemplate.LLAMA2VEC);
      assertThat(trained.dimension()).isEqualTo(HIDDEN);
      for (Mode mode : Mode.values()) {
        float[] vector = trained.encode("the little dog", mode);
        Vectors.assertUnit(vector);
        assertThat(vector).isNotEqualTo(before.encode("the little dog", mode));
        assertThat(vector).isNotEqualTo(trained.encode("a red bird", mode));
      }
    }
  }

  @Test
  void promptsAreNotLongerThanInTraining() {
    Path out = full(tied);
    LlaraJson json = CheckpointDirectory.open(out).llaraJson().orElseThrow();
    assertThat(json.template()).isEqualTo(PromptTemplate.LLAMA2VEC);
    try (Tokenizer tokenizer = Tokenizer.load(out)) {
      PromptBuilder prompts = PromptBuilder.create(json.template(), tokenizer);
      String text = "dog ".repeat(200);
      int trained =
          prompts.withReserve(Reserve.BOTH_SUFFIXES).buildJoint(text, Runs.MAX_TOKENS).textLength();
      PromptBuilder alone = prompts.withReserve(Reserve.OWN_SUFFIX);
      // Queries are NEXT, passages SELF.
      assertThat(alone.build(text, Mode.NEXT, json.maxQueryTokens().orElseThrow()).textLength())
          .isEqualTo(trained);
      assertThat(alone.build(text, Mode.SELF, json.maxPassageTokens().orElseThrow()).textLength())
          .isEqualTo(trained);
    }
  }

  @Test
  void theStorageTypeIsThatOfTheModel() {
    // What F32 was trained is F32; a model in BF16 would be written in BF16.
    assertThat(CheckpointDirectory.open(full(tied)).tensors().values())
        .allSatisfy(entry -> assertThat(entry.type()).isEqualTo(StorageType.F32));
  }

  @Test
  void everyStepIsOneLineWithAllItsNumbers() throws Exception {
    Path out = lora(tied);
    List<String> lines = Files.readAllLines(out.resolve("metrics.jsonl"));
    assertThat(lines).hasSize(9);
    List<JsonObject> metrics = TrainingRuns.metrics(out);
    assertThat(TrainingRuns.values(metrics, "step"))
        .isEqualTo(IntStream.rangeClosed(1, 9).mapToObj(i -> (double) i).toList());
    for (String line : lines) {
      assertThat(line).contains("\"seconds\":");
    }
    for (JsonObject line : metrics) {
      assertThat(line.keySet())
          .containsExactly(
              "step",
              "loss",
              "ar_loss",
              "self_loss",
              "next_loss",
              "learning_rate",
              "gradient_norm",
              "tokens");
      assertThat(line.get("loss").getAsDouble()).isEqualTo(loss(line));
    }
    // Warm-up over two steps to 1e-2, then down to nothing at the end.
    assertThat(TrainingRuns.values(metrics, "learning_rate").subList(0, 2))
        .containsExactly(5e-3, 1e-2);
    assertThat(TrainingRuns.values(metrics, "learning_rate").get(8)).isLessThan(1e-2 / 7);
  }

  /** What the recipe makes of the terms; a batch may have no target of a kind. */
  private static double loss(JsonObject line) {
    boolean both = !line.get("self_loss").isJsonNull() && !line.get("next_loss").isJsonNull();
    double embeddings = 0;
    for (String term : List.of("self_loss", "next_loss")) {
      embeddings += line.get(term).isJsonNull() ? 0 : line.get(term).getAsDouble();
    }
    return line.get("ar_loss").getAsDouble() + embeddings / (both ? 2 : 1);
  }

  @Test
  void aBatchWithoutTargetsHasNoSuchTerm() {
    Path none =
        TrainingRuns.write(
            dir.resolve("none.jsonl"), List.of(Runs.pair("a big dog", "", "the red ball")));
    Path out =
        TrainingRuns.complete(Runs.full(tied, none, dir.resolve("out")).batch(2).steps(2)).model();
    for (JsonObject line : TrainingRuns.metrics(out)) {
      assertThat(line.get("self_loss").isJsonNull()).isTrue();
      // The one term that is there counts whole.
      assertThat(line.get("loss").getAsDouble())
          .isEqualTo(line.get("ar_loss").getAsDouble() + line.get("next_loss").getAsDouble());
    }
  }

  @Test
  void aBatchWithNothingToLearnChangesNothing() {
    Path none =
        TrainingRuns.write(dir.resolve("none.jsonl"), List.of(Runs.pair("a big dog", "", "")));
    Path out =
        TrainingRuns.complete(
                Runs.full(tied, none, dir.resolve("out")).recipe(Recipe.PAPER).batch(2).steps(2))
            .model();
    assertThat(TrainingRuns.values(TrainingRuns.metrics(out), "loss")).containsExactly(0.0, 0.0);
    Map<String, float[]> before = TrainingRuns.weights(tied);
    TrainingRuns.weights(out)
        .forEach((name, values) -> assertThat(values).as(name).isEqualTo(before.get(name)));
  }

  @Test
  void theRecordsSayWhatWasDone() {
    Path out = lora(tied);
    Manifest manifest = Manifest.read(out).orElseThrow();
    assertThat(manifest.steps()).isEqualTo(9);
    assertThat(manifest.finished()).isPresent();
    assertThat(manifest.data())
        .singleElement()
        .satisfies(file -> assertThat(file.sha256()).hasSize(64));
    assertThat(manifest.settings())
        .containsEntry("recipe", "released")
        .containsEntry("seed", "7")
        .containsEntry("batch", "4");
    assertThat(RunDirectory.readSettings(out).orElseThrow())
        .containsAllEntriesOf(manifest.settings())
        .containsKey("data 1");
  }
}
