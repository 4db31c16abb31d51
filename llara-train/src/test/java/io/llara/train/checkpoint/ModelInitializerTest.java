package io.llara.train.checkpoint;

import static io.llara.train.checkpoint.TestModels.HIDDEN;
import static io.llara.train.checkpoint.TestModels.VOCABULARY;
import static io.llara.train.checkpoint.TestModels.addToken;
import static io.llara.train.checkpoint.TestModels.assertHolds;
import static io.llara.train.checkpoint.TestModels.change;
import static io.llara.train.checkpoint.TestModels.entries;
import static io.llara.train.checkpoint.TestModels.json;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.testing.Shared;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelInitializerTest {
  private static final OptionalInt AS_IT_IS = OptionalInt.empty();
  private static final String TEXT =
      "Once upon a time, there was a little girl named Lily. Naïve café № 42;\n\t日本語 😀.";

  @TempDir Path temp;
  private Path model;
  private Path config;
  private Path out;

  @BeforeEach
  void copy() {
    model = TestModels.stories(temp.resolve("model"));
    config = model.resolve("config.json");
    out = temp.resolve("out");
  }

  private void create(OptionalInt vocabulary) {
    ModelInitializer.create(config, model, vocabulary, 5, out);
  }

  private void changeConfig(Consumer<JsonObject> change) {
    change(config, change);
  }

  @Test
  void weightsAreRandomAndNormsOne() {
    changeConfig(
        json -> {
          json.addProperty("tie_word_embeddings", false);
          json.addProperty("attention_bias", true);
          json.addProperty("initializer_range", 0.05);
        });
    create(AS_IT_IS);
    assertThat(entries(out)).containsKeys("lm_head.weight", "model.layers.4.self_attn.q_proj.bias");
    entries(out)
        .forEach(
            (name, entry) -> {
              float[] values = entry.readFloats();
              if (name.endsWith("norm.weight")) {
                assertThat(values).as(name).containsOnly(1);
              } else if (name.endsWith("bias")) {
                assertThat(values).as(name).containsOnly(0);
              } else {
                assertThat(mean(values)).as(name).isCloseTo(0, within(0.004));
                assertThat(deviation(values)).as(name).isCloseTo(0.05, within(0.003));
              }
            });
    assertHolds(temp, "model", "out");
  }

  @Test
  void theConfigurationIsKeptAndTheTypeNamed() {
    changeConfig(
        json -> {
          json.addProperty("torch_dtype", "bfloat16");
          json.addProperty("note", 1e-5);
          JsonArray bare = new JsonArray();
          bare.add("LlamaModel");
          json.add("architectures", bare);
          json.remove("initializer_range");
        });
    create(AS_IT_IS);
    JsonObject written = json(out.resolve("config.json"));
    assertThat(written.get("torch_dtype").getAsString()).isEqualTo("float32");
    assertThat(written.get("note")).isEqualTo(json(config).get("note"));
    assertThat(CheckpointDirectory.open(out).config().architecture()).isEqualTo("LlamaForCausalLM");
    assertThat(deviation(entries(out).get("model." + LlamaTensors.EMBEDDING).readFloats()))
        .isCloseTo(0.02, within(0.001));
  }

  @Test
  void theSeedDecides() throws IOException {
    create(AS_IT_IS);
    Path again = temp.resolve("again");
    Path other = temp.resolve("other");
    ModelInitializer.create(config, model, AS_IT_IS, 5, again);
    ModelInitializer.create(config, model, AS_IT_IS, 6, other);
    Path weights = out.resolve("model.safetensors");
    assertThat(again.resolve("model.safetensors")).hasSameBinaryContentAs(weights);
    assertThat(Files.mismatch(other.resolve("model.safetensors"), weights)).isNotEqualTo(-1);
  }

  @Test
  void theTokenizerIsCopied() {
    create(OptionalInt.of(VOCABULARY));
    for (String file : List.of("tokenizer.json", "tokenizer_config.json")) {
      assertThat(out.resolve(file)).hasSameBinaryContentAs(model.resolve(file));
    }
  }

  @Test
  void withMarkersTheEncoderTakesIt() {
    create(OptionalInt.of(450));
    Path grown = temp.resolve("grown");
    VocabularyGrowth.addMarkers(out, grown, 1);
    try (Encoder encoder = Encoder.load(grown)) {
      assertThat(encoder.encode(TEXT, Mode.SELF)).hasSize(HIDDEN);
      assertThat(encoder.encode(TEXT, Mode.NEXT)).hasSize(HIDDEN);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {260, 261, 300, 400, 511})
  void aCutTokenizerIsAWholeOne(int size) {
    create(OptionalInt.of(size));
    assertThat(CheckpointDirectory.open(out).config().vocabularySize()).isEqualTo(size);
    assertWhole(model, out, size);
  }

  /** Every id has a token, every merge its tokens, and a text comes back. */
  private static void assertWhole(Path from, Path cut, int size) {
    JsonObject bpe = json(cut.resolve("tokenizer.json")).getAsJsonObject("model");
    JsonObject vocabulary = bpe.getAsJsonObject("vocab");
    Set<Integer> ids = new TreeSet<>();
    vocabulary.asMap().values().forEach(id -> ids.add(id.getAsInt()));
    TestModels.added(cut).forEach(token -> ids.add(token.getAsJsonObject().get("id").getAsInt()));
    assertThat(ids).hasSize(size).startsWith(0).endsWith(size - 1);
    assertThat(bpe.getAsJsonArray("merges"))
        .allMatch(
            merge -> {
              String[] parts = merge.getAsString().split(" ");
              return vocabulary.has(parts[0])
                  && vocabulary.has(parts[1])
                  && vocabulary.has(parts[0] + parts[1]);
            });
    try (Tokenizer whole = Tokenizer.load(from);
        Tokenizer tokenizer = Tokenizer.load(cut)) {
      assertThat(tokenizer.vocabularySize()).isEqualTo(size);
      assertThat(tokenizer.bosIds()).isEqualTo(whole.bosIds());
      assertThat(tokenizer.eosId()).isEqualTo(whole.eosId());
      assertThat(tokenizer.unkId()).isEqualTo(whole.unkId());
      assertThat(tokenizer.decode(tokenizer.encodeText(TEXT)))
          .isEqualTo(whole.decode(whole.encodeText(TEXT)));
    }
  }

  @Test
  void theCommonCharactersComeWithACut() {
    create(OptionalInt.of(330));
    try (Tokenizer tokenizer = Tokenizer.load(out)) {
      Set<String> words =
          tokens(tokenizer, "there was a time").stream()
              .filter(token -> token.startsWith("<0x"))
              .collect(Collectors.toSet());
      assertThat(words).isEmpty();
      assertThat(tokens(tokenizer, "the")).contains("▁the");
    }
  }

  private static List<String> tokens(Tokenizer tokenizer, String text) {
    return Arrays.stream(tokenizer.encodeText(text)).mapToObj(tokenizer::token).toList();
  }

  @Test
  void otherFormsOfTheVocabularyAreLeftOutOfACut() throws IOException {
    Files.writeString(model.resolve("tokenizer.model"), "sentencepiece");
    change(
        model.resolve("tokenizer_config.json"),
        settings -> {
          JsonObject decoder = new JsonObject();
          decoder.add("1", new JsonObject());
          decoder.add("512", new JsonObject());
          settings.add("added_tokens_decoder", decoder);
        });
    changeConfig(json -> json.addProperty("vocab_size", 513));
    addToken(model, "  ", 512, false);
    create(OptionalInt.of(400));
    assertHolds(
        out,
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json");
    assertThat(
            json(out.resolve("tokenizer_config.json"))
                .getAsJsonObject("added_tokens_decoder")
                .keySet())
        .containsExactly("1");
    assertThat(TestModels.added(out)).hasSize(3);
  }

  @Test
  void aByteLevelVocabularyKeepsItsAlphabet() throws IOException {
    Path bytes = Files.createDirectory(temp.resolve("bytes"));
    writeByteLevel(bytes);
    changeConfig(json -> json.addProperty("vocab_size", 260));
    ModelInitializer.create(config, bytes, OptionalInt.of(258), 1, out);
    assertWhole(bytes, out, 258);
    try (Tokenizer tokenizer = Tokenizer.load(out)) {
      assertThat(tokenizer.tokenId("Ġt")).hasValue(257);
      assertThat(tokenizer.tokenId("he")).isEmpty();
    }
    assertThatThrownBy(
            () ->
                ModelInitializer.create(
                    config, bytes, OptionalInt.of(200), 1, temp.resolve("other")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContainingAll("tokenizer.json", "200", "256 characters");
  }

  /** One special token, the 256 byte characters, and three merges. */
  private static void writeByteLevel(Path dir) throws IOException {
    JsonObject vocabulary = new JsonObject();
    vocabulary.addProperty("</s>", 0);
    int other = 256;
    for (int b = 0; b < 256; b++) {
      boolean printable = b > 32 && b < 127 || b > 160 && b != 173;
      String character = Character.toString(printable ? b : other++);
      vocabulary.addProperty(character, vocabulary.size());
    }
    JsonArray merges = new JsonArray();
    for (String merge : List.of("Ġ t", "h e", "Ġt he")) {
      vocabulary.addProperty(merge.replace(" ", ""), vocabulary.size());
      merges.add(merge);
    }
    JsonObject bpe = new JsonObject();
    bpe.addProperty("type", "BPE");
    bpe.add("vocab", vocabulary);
    bpe.add("merges", merges);
    JsonObject byteLevel = new JsonObject();
    byteLevel.addProperty("type", "ByteLevel");
    byteLevel.addProperty("add_prefix_space", false);
    byteLevel.addProperty("trim_offsets", true);
    byteLevel.addProperty("use_regex", true);
    JsonObject root = new JsonObject();
    root.add("added_tokens", new JsonArray());
    root.add("pre_tokenizer", byteLevel);
    root.add("decoder", byteLevel);
    root.add("model", bpe);
    Files.writeString(dir.resolve("tokenizer.json"), root.toString());
    addToken(dir, "</s>", 0, true);
    Files.writeString(dir.resolve("tokenizer_config.json"), "{\"eos_token\": \"</s>\"}");
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 0, 513})
  void sizesThatTheTokenizerDoesNotHaveAreRefused(int size) {
    assertThatThrownBy(() -> create(OptionalInt.of(size)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContainingAll(Integer.toString(size), "1 to 512");
    assertHolds(temp, "model");
  }

  @ParameterizedTest
  @CsvSource({"2, eos_token_id", "258, <0xFF>", "259, 260 tokens"})
  void whatMustStayNeedsRoom(int size, String named) {
    assertThatThrownBy(() -> create(OptionalInt.of(size)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContainingAll(named, Integer.toString(size));
    assertHolds(temp, "model");
  }

  @Test
  void aSpecialTokenBeyondTheEndIsRefused() {
    changeConfig(json -> json.addProperty("vocab_size", 513));
    addToken(model, "<|end|>", 512, true);
    assertThatThrownBy(() -> create(OptionalInt.of(500)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContainingAll("tokenizer.json", "<|end|>", "512", "500");
    assertHolds(temp, "model");
  }

  @Test
  void aConfigurationTooSmallForTheTokenizerIsRefused() {
    changeConfig(json -> json.addProperty("vocab_size", 500));
    assertThatThrownBy(() -> create(AS_IT_IS))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContainingAll("config.json", "vocab_size", "500", "511");
  }

  @Test
  void aConfigurationMayHaveMoreRows() {
    changeConfig(json -> json.addProperty("vocab_size", 576));
    create(AS_IT_IS);
    assertThat(CheckpointDirectory.open(out).tensor(LlamaTensors.EMBEDDING).shape())
        .containsExactly(576, HIDDEN);
  }

  @ParameterizedTest
  @ValueSource(strings = {"bos_token_id", "eos_token_id", "pad_token_id"})
  void idsBeyondTheVocabularyAreRefused(String key) {
    changeConfig(json -> json.addProperty(key, 450));
    assertThatThrownBy(() -> create(OptionalInt.of(450)))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContainingAll("config.json", key, "450");
  }

  @ParameterizedTest
  @ValueSource(strings = {"0", "-1", "1e999", "\"small\"", "[]"})
  void aSenselessRangeIsRefused(String range) {
    changeConfig(json -> json.add("initializer_range", JsonParser.parseString(range)));
    assertThatThrownBy(() -> create(AS_IT_IS))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContainingAll("config.json", "initializer_range");
  }

  @Test
  void aUnigramVocabularyIsTakenWholeOrNotAtAll() throws IOException {
    JsonArray vocabulary = new JsonArray();
    for (String name : List.of("<unk>", "</s>", "▁", "a", "b")) {
      JsonArray token = new JsonArray();
      token.add(name);
      token.add(new JsonPrimitive(-1.5));
      vocabulary.add(token);
    }
    change(
        model.resolve("tokenizer.json"),
        json -> {
          JsonObject unigram = new JsonObject();
          unigram.addProperty("type", "Unigram");
          unigram.addProperty("unk_id", 0);
          unigram.add("vocab", vocabulary);
          json.add("model", unigram);
          json.add("added_tokens", new JsonArray());
          json.remove("post_processor");
        });
    Files.delete(model.resolve("special_tokens_map.json"));
    assertThatThrownBy(() -> create(OptionalInt.of(4)))
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContainingAll("tokenizer.json", "Unigram");
    changeConfig(json -> json.addProperty("vocab_size", 5));
    create(AS_IT_IS);
    Path grown = temp.resolve("grown");
    VocabularyGrowth.addMarkers(out, grown, 1);
    try (Tokenizer tokenizer = Tokenizer.load(grown)) {
      assertThat(tokenizer.tokenId("<s1>")).hasValue(5);
      assertThat(tokenizer.vocabularySize()).isEqualTo(21);
    }
  }

  @Test
  void whatIsMissingOrInTheWayIsNamed() throws IOException {
    assertThatThrownBy(
            () -> ModelInitializer.create(temp.resolve("no.json"), model, AS_IT_IS, 1, out))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("no.json");
    assertThatThrownBy(
            () -> ModelInitializer.create(config, temp.resolve("none"), AS_IT_IS, 1, out))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("none");
    assertThatThrownBy(() -> ModelInitializer.create(config, model, AS_IT_IS, 1, model))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("not empty");
    Path file = Files.writeString(temp.resolve("file"), "");
    assertThatThrownBy(
            () -> ModelInitializer.create(config, model, AS_IT_IS, 1, file.resolve("out")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("file");
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama2", "mistral-v0.1", "open-llama"})
  void knownTokenizersAreCut(String name) throws IOException {
    Path shared = Shared.require().resolve("data");
    Path tokenizerDir = shared.resolve("tokenizers").resolve(name);
    int size = 8000;
    ModelInitializer.create(config, tokenizerDir, OptionalInt.of(size), 1, out);
    assertWhole(tokenizerDir, out, size);
    String prose = Files.readString(shared.resolve("README.md")).replaceAll("\\s+", " ");
    try (Tokenizer whole = Tokenizer.load(tokenizerDir);
        Tokenizer cut = Tokenizer.load(out)) {
      for (int id = 0; id < size * 3 / 4; id++) {
        assertThat(cut.token(id)).isEqualTo(whole.token(id));
      }
      int[] ids = cut.encodeText(prose);
      assertThat(ids.length).isLessThan(whole.encodeText(prose).length * 3 / 2);
      assertThat(IntStream.of(ids)).as("bytes").noneMatch(id -> id >= 3 && id < 259);
    }
  }

  private static double mean(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += value;
    }
    return sum / values.length;
  }

  private static double deviation(float[] values) {
    double mean = mean(values);
    double squares = 0;
    for (float value : values) {
      squares += (value - mean) * (value - mean);
    }
    return Math.sqrt(squares / values.length);
  }
}
