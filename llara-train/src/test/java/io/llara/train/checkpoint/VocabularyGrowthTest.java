package io.llara.train.checkpoint;

import static io.llara.train.checkpoint.TestModels.HIDDEN;
import static io.llara.train.checkpoint.TestModels.MARKERS;
import static io.llara.train.checkpoint.TestModels.VOCABULARY;
import static io.llara.train.checkpoint.TestModels.addToken;
import static io.llara.train.checkpoint.TestModels.assertHolds;
import static io.llara.train.checkpoint.TestModels.change;
import static io.llara.train.checkpoint.TestModels.entries;
import static io.llara.train.checkpoint.TestModels.json;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.JsonObject;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.Similarity;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.Leaks;
import io.llara.testing.MarkedStories;
import io.llara.testing.PreLlama;
import io.llara.testing.Shared;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VocabularyGrowthTest {
  private static final List<String> NAMES =
      IntStream.rangeClosed(1, MARKERS).mapToObj(i -> "<s" + i + ">").toList();
  private static final String EMBEDDING = "model." + LlamaTensors.EMBEDDING;

  @TempDir Path temp;
  private Path model;
  private Path out;

  @BeforeEach
  void copy() {
    model = TestModels.stories(temp.resolve("model"));
    out = temp.resolve("out");
  }

  @Test
  void aSlowTokenizerBecomesAFastOneWithTheMarkers() throws IOException {
    Path slow = Directories.copy(PreLlama.dir(), temp.resolve("slow"));
    Files.delete(slow.resolve("added_tokens.json"));
    VocabularyGrowth.addMarkers(slow, out, 1);
    assertThat(out.resolve("tokenizer.json")).exists();
    try (Tokenizer before = Tokenizer.load(slow);
        Tokenizer after = Tokenizer.load(out)) {
      assertThat(after.encodeText("The encoder, 🦙"))
          .isEqualTo(before.encodeText("The encoder, 🦙"));
      assertThat(after.bosIds()).isEqualTo(before.bosIds());
      for (int i = 0; i < MARKERS; i++) {
        assertThat(after.tokenId(NAMES.get(i))).hasValue(before.vocabularySize() + i);
      }
    }
  }

  @Test
  void theMarkersAreSpecialTokensBehindTheLast() {
    assertThat(VocabularyGrowth.addMarkers(model, out, 1)).isEqualTo(NAMES);
    assertThat(CheckpointDirectory.open(out).config().vocabularySize())
        .isEqualTo(VOCABULARY + MARKERS);
    try (Tokenizer tokenizer = Tokenizer.load(out)) {
      for (int i = 0; i < MARKERS; i++) {
        assertThat(tokenizer.tokenId(NAMES.get(i))).hasValue(VOCABULARY + i);
      }
      assertThat(tokenizer.vocabularySize()).isEqualTo(VOCABULARY + MARKERS);
      assertThat(IntStream.of(tokenizer.encodeText("Once <s1> upon")))
          .allMatch(id -> id < VOCABULARY);
    }
    assertThat(TestModels.added(out))
        .extracting(token -> token.getAsJsonObject().get("special").getAsBoolean())
        .containsOnly(true);
    assertHolds(temp, "model", "out");
  }

  @Test
  void theModelNamesItsRecipeAndKeepsItsSettings() {
    VocabularyGrowth.addMarkers(model, out, 1);
    assertThat(CheckpointDirectory.open(out).llaraJson().orElseThrow().template())
        .isEqualTo(PromptTemplate.LLAMA2VEC);
    JsonObject before = json(model.resolve("config.json"));
    JsonObject after = json(out.resolve("config.json"));
    before.addProperty("vocab_size", VOCABULARY + MARKERS);
    assertThat(after).isEqualTo(before);
  }

  @Test
  void everythingButTheNewRowsStays() throws IOException {
    VocabularyGrowth.addMarkers(model, out, 1);
    entries(model)
        .forEach(
            (name, old) -> {
              float[] now = entries(out).get(name).readFloats();
              assertThat(Arrays.copyOf(now, (int) old.elements()))
                  .as(name)
                  .isEqualTo(old.readFloats());
              assertThat(now.length == old.elements()).isEqualTo(!name.equals(EMBEDDING));
            });
    for (String file : List.of("tokenizer_config.json", "special_tokens_map.json")) {
      assertThat(out.resolve(file)).hasSameBinaryContentAs(model.resolve(file));
    }
  }

  @Test
  void newRowsAreTheMeanAndALittleNoise() {
    VocabularyGrowth.addMarkers(model, out, 1);
    assertNearTheMean(entries(out).get(EMBEDDING).readFloats(), VOCABULARY);
  }

  /** The first rows are old, sixteen new ones follow. */
  private static void assertNearTheMean(float[] values, int rows) {
    double[] mean = new double[HIDDEN];
    for (int i = 0; i < rows * HIDDEN; i++) {
      mean[i % HIDDEN] += values[i] / (double) rows;
    }
    double old = 0;
    double added = 0;
    for (int i = 0; i < (rows + MARKERS) * HIDDEN; i++) {
      double square = Math.pow(values[i] - mean[i % HIDDEN], 2);
      if (i < rows * HIDDEN) {
        old += square / (rows * HIDDEN);
      } else {
        added += square / (MARKERS * HIDDEN);
      }
    }
    assertThat(Math.sqrt(added / old)).isCloseTo(NewRows.NOISE, within(0.002));
    assertThat(
            IntStream.range(rows, rows + MARKERS)
                .mapToObj(row -> Arrays.copyOfRange(values, row * HIDDEN, (row + 1) * HIDDEN))
                .map(Arrays::hashCode))
        .doesNotHaveDuplicates();
  }

  @Test
  void theSeedDecides() {
    Path again = temp.resolve("again");
    Path other = temp.resolve("other");
    VocabularyGrowth.addMarkers(model, out, 1);
    VocabularyGrowth.addMarkers(model, again, 1);
    VocabularyGrowth.addMarkers(model, other, 2);
    for (Path file : TestModels.files(out)) {
      assertThat(again.resolve(file.getFileName())).hasSameBinaryContentAs(file);
    }
    assertThat(entries(other).get(EMBEDDING).readFloats())
        .isNotEqualTo(entries(out).get(EMBEDDING).readFloats());
  }

  @Test
  void theEncoderTakesIt() {
    VocabularyGrowth.addMarkers(model, out, 1);
    try (Encoder encoder = Encoder.load(out)) {
      float[] passage = encoder.encode("Once upon a time there was a llama.", Mode.SELF);
      float[] query = encoder.encode("Once upon a time there was a llama.", Mode.NEXT);
      assertThat(passage).hasSize(HIDDEN);
      assertThat(Similarity.cosine(passage, passage)).isCloseTo(1, within(1e-5));
      assertThat(Similarity.cosine(passage, query)).isLessThan(0.9999);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"F32", "F16", "BF16"})
  void shardsAndAHeadOfItsOwn(String type) throws IOException {
    float[] head = TestModels.rows(VOCABULARY);
    TestModels.shard(model, StorageType.valueOf(type), head);
    change(
        model.resolve("config.json"), config -> config.addProperty("tie_word_embeddings", false));
    VocabularyGrowth.addMarkers(model, out, 1);
    CheckpointDirectory grown = CheckpointDirectory.open(out);
    for (String name : List.of(LlamaTensors.EMBEDDING, LlamaTensors.HEAD)) {
      TensorEntry entry = grown.tensor(name);
      assertThat(entry.type()).isEqualTo(StorageType.valueOf(type));
      assertThat(entry.shape()).containsExactly(VOCABULARY + MARKERS, HIDDEN);
    }
    if (type.equals("F32")) {
      assertNearTheMean(grown.tensor(LlamaTensors.EMBEDDING).readFloats(), VOCABULARY);
      assertNearTheMean(grown.tensor(LlamaTensors.HEAD).readFloats(), VOCABULARY);
    }
    assertThat(entries(out).keySet()).isEqualTo(entries(model).keySet());
    entries(model)
        .forEach(
            (name, old) ->
                assertThat(Arrays.copyOf(entries(out).get(name).readFloats(), (int) old.elements()))
                    .as(name)
                    .isEqualTo(old.readFloats()));
    JsonObject index = json(out.resolve("model.safetensors.index.json"));
    long more = 2L * MARKERS * HIDDEN * StorageType.valueOf(type).bytes();
    assertThat(index.getAsJsonObject("metadata").get("total_size").getAsLong())
        .isEqualTo(1_000_000 + more);
    assertThat(index.get("weight_map"))
        .isEqualTo(json(model.resolve("model.safetensors.index.json")).get("weight_map"));
  }

  @Test
  void aShardWithoutThemIsCopiedAsItIs() throws IOException {
    TestModels.shard(model, StorageType.BF16, new float[0]);
    VocabularyGrowth.addMarkers(model, out, 1);
    String second = "model-00002-of-00002.safetensors";
    assertThat(out.resolve(second)).hasSameBinaryContentAs(model.resolve(second));
  }

  @Test
  void aStoredCopyOfATiedMatrixStaysACopy() throws IOException {
    TestModels.shard(model, StorageType.F32, entries(model).get(EMBEDDING).readFloats());
    VocabularyGrowth.addMarkers(model, out, 1);
    assertThat(entries(out).get("lm_head.weight").readFloats())
        .isEqualTo(entries(out).get(EMBEDDING).readFloats());
  }

  @ParameterizedTest
  @ValueSource(ints = {513, 520, 528, 600})
  void rowsWithoutATokenAreUsedFirst(int rows) {
    TestModels.padEmbedding(model, rows);
    VocabularyGrowth.addMarkers(model, out, 1);
    int size = Math.max(rows, VOCABULARY + MARKERS);
    assertThat(CheckpointDirectory.open(out).config().vocabularySize()).isEqualTo(size);
    float[] before = entries(model).get(EMBEDDING).readFloats();
    float[] after = entries(out).get(EMBEDDING).readFloats();
    assertThat(after).hasSize(size * HIDDEN);
    assertNearTheMean(after, VOCABULARY);
    int end = (VOCABULARY + MARKERS) * HIDDEN;
    if (before.length > end) {
      assertThat(Arrays.copyOfRange(after, end, after.length))
          .isEqualTo(Arrays.copyOfRange(before, end, before.length));
    }
    try (Tokenizer tokenizer = Tokenizer.load(out)) {
      assertThat(tokenizer.tokenId("<s16>")).hasValue(VOCABULARY + MARKERS - 1);
    }
  }

  @Test
  void markersThatAreThereKeepIdAndRow() {
    TestModels.padEmbedding(model, 514);
    addToken(model, "<s5>", 513, true);
    addToken(model, "<pad>", 512, true);
    assertThat(VocabularyGrowth.addMarkers(model, out, 1))
        .hasSize(15)
        .startsWith("<s1>")
        .doesNotContain("<s5>");
    try (Tokenizer tokenizer = Tokenizer.load(out)) {
      assertThat(tokenizer.tokenId("<s5>")).hasValue(513);
      assertThat(tokenizer.tokenId("<s1>")).hasValue(514);
      assertThat(tokenizer.tokenId("<s16>")).hasValue(528);
      assertThat(PromptBuilder.missingTokens(PromptTemplate.LLAMA2VEC, tokenizer)).isEmpty();
    }
    float[] before = entries(model).get(EMBEDDING).readFloats();
    assertThat(Arrays.copyOf(entries(out).get(EMBEDDING).readFloats(), before.length))
        .isEqualTo(before);
    assertThat(TestModels.added(out))
        .extracting(token -> token.getAsJsonObject().get("id").getAsInt())
        .isSorted();
  }

  @Test
  void aWordOfTheVocabularyBecomesASpecialToken() {
    TestModels.padEmbedding(model, 513);
    change(
        model.resolve("tokenizer.json"),
        tokenizer ->
            tokenizer
                .getAsJsonObject("model")
                .getAsJsonObject("vocab")
                .addProperty("<s7>", VOCABULARY));
    assertThat(VocabularyGrowth.addMarkers(model, out, 1)).hasSize(15).doesNotContain("<s7>");
    assertThat(TestModels.added(out))
        .extracting(token -> token.getAsJsonObject().get("content").getAsString())
        .contains("<s7>");
    try (Tokenizer tokenizer = Tokenizer.load(out)) {
      assertThat(tokenizer.tokenId("<s7>")).hasValue(VOCABULARY);
    }
  }

  @Test
  void otherFilesThatListTheTokensFollow() throws IOException {
    change(
        model.resolve("tokenizer_config.json"),
        settings -> settings.add("added_tokens_decoder", new JsonObject()));
    Files.writeString(model.resolve("added_tokens.json"), "{\"<pad>\": 7}");
    Files.writeString(model.resolve("generation_config.json"), "{\"a\": 1}");
    VocabularyGrowth.addMarkers(model, out, 1);
    JsonObject decoder =
        json(out.resolve("tokenizer_config.json")).getAsJsonObject("added_tokens_decoder");
    assertThat(decoder.getAsJsonObject("527").get("content").getAsString()).isEqualTo("<s16>");
    assertThat(decoder.size()).isEqualTo(MARKERS);
    JsonObject ids = json(out.resolve("added_tokens.json"));
    assertThat(ids.get("<pad>").getAsInt()).isEqualTo(7);
    assertThat(ids.get("<s1>").getAsInt()).isEqualTo(VOCABULARY);
    assertThat(out.resolve("generation_config.json"))
        .hasSameBinaryContentAs(model.resolve("generation_config.json"));
  }

  @Test
  void aModelThatHasThemAllIsRefused() {
    Path marked = MarkedStories.write(temp.resolve("marked"));
    assertRefused(marked, "tokenizer.json", "already", "<s1>", "<s16>");
    assertHolds(temp, "model", "marked");
  }

  @Test
  void gapsInTheIdsAreRefused() {
    TestModels.padEmbedding(model, 600);
    addToken(model, "<pad>", 530, true);
    assertRefused(model, "tokenizer.json", "id 512");
  }

  @Test
  void aVocabularyLargerThanTheMatrixIsRefused() {
    addToken(model, "<pad>", 512, true);
    assertRefused(model, "config.json", "vocab_size", "512");
  }

  @Test
  void aConfigurationThatDoesNotFitTheWeightsIsRefused() {
    change(model.resolve("config.json"), config -> config.addProperty("vocab_size", 500));
    assertRefused(model, "embed_tokens.weight", "[512, 64]", "[500, 64]");
  }

  @Test
  void weightsThatAreNoNumbersAreRefused() {
    MarkedStories.changeWeights(
        model,
        entry -> {
          float[] values = entry.readFloats();
          values[7] = MarkedStories.isEmbedding(entry) ? Float.NaN : values[7];
          return values;
        });
    assertRefused(model, "model.safetensors", LlamaTensors.EMBEDDING, "finite");
    assertHolds(temp, "model");
  }

  @Test
  void aDirectoryWithFilesIsRefused() throws IOException {
    Files.createDirectory(out);
    Files.writeString(out.resolve("notes"), "mine");
    assertRefused(model, "out", "not empty");
    assertHolds(out, "notes");
    assertThatThrownBy(() -> VocabularyGrowth.addMarkers(model, model, 1))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("not empty");
  }

  @Test
  void aPlaceThatCannotHoldADirectoryIsNamed() throws IOException {
    Path file = Files.writeString(temp.resolve("file"), "");
    assertThatThrownBy(() -> VocabularyGrowth.addMarkers(model, file.resolve("out"), 1))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("file");
    assertThatThrownBy(() -> VocabularyGrowth.addMarkers(model, file, 1))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("is a file");
  }

  @Test
  void whatIsMissingIsNamed() throws IOException {
    assertThatThrownBy(() -> VocabularyGrowth.addMarkers(temp.resolve("none"), out, 1))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("none");
    Files.delete(model.resolve("tokenizer.json"));
    assertRefused(model, "tokenizer.json");
  }

  @Test
  void noNativeMemoryStays() throws Throwable {
    int[] count = new int[1];
    Leaks.assertNone(() -> VocabularyGrowth.addMarkers(model, temp.resolve("out" + count[0]++), 1));
  }

  private void assertRefused(Path from, String... words) {
    assertThatThrownBy(() -> VocabularyGrowth.addMarkers(from, out, 1))
        .isInstanceOf(LlaraException.class)
        .hasMessageContainingAll(words);
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama2", "mistral-v0.1", "open-llama"})
  void theRecipeResolvesWithKnownTokenizers(String name) {
    Path tokenizer = Shared.require().resolve("data/tokenizers").resolve(name);
    Path base = temp.resolve("base");
    change(model.resolve("config.json"), config -> config.addProperty("vocab_size", 32_000));
    ModelInitializer.create(model.resolve("config.json"), tokenizer, OptionalInt.empty(), 3, base);
    VocabularyGrowth.addMarkers(base, out, 1);
    try (Tokenizer grown = Tokenizer.load(out)) {
      PromptBuilder builder = PromptBuilder.create(PromptTemplate.LLAMA2VEC, grown);
      int[] self = builder.fromIds(new int[] {500}, Mode.SELF).ids();
      int[] next = builder.fromIds(new int[] {500}, Mode.NEXT).ids();
      assertThat(Arrays.copyOfRange(self, self.length - 8, self.length))
          .containsExactly(IntStream.range(32_000, 32_008).toArray());
      assertThat(Arrays.copyOfRange(next, next.length - 8, next.length))
          .containsExactly(IntStream.range(32_008, 32_016).toArray());
      if (name.equals("llama2")) {
        assertThat(Arrays.copyOf(self, self.length - 8))
            .containsExactly(
                1, 376, 500, 9162, 19138, 675, 278, 2038, 13382, 2629, 9475, 3838, 29901, 29871);
        assertThat(Arrays.copyOf(next, next.length - 8))
            .containsExactly(
                1, 376, 500, 9162, 8500, 278, 1494, 13382, 2629, 9475, 3838, 29901, 29871);
      }
    }
  }
}
