package io.llara.tokenize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;

import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import com.google.common.primitives.Ints;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.LineReader;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.PreLlama;
import io.llara.testing.Shared;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Checkpoints with a SentencePiece model and no tokenizer.json. The small one, and what Python's
 * sentencepiece and transformers compute with it, is made by {@code
 * benchmarks/scripts/slow-tokenizer-fixture.py}.
 */
class SlowTokenizerTest {
  private static final Path MODEL = PreLlama.dir();

  @TempDir Path temp;
  private Path dir;

  @BeforeEach
  void copyModel() {
    dir = Directories.copy(MODEL, temp.resolve("model"));
  }

  private static JsonObject json(Path file) throws IOException {
    return JsonParser.parseString(Files.readString(file)).getAsJsonObject();
  }

  private static List<JsonObject> expected() throws IOException {
    JsonArray cases =
        JsonParser.parseString(Files.readString(MODEL.resolve("expected.json"))).getAsJsonArray();
    return cases.asList().stream().map(JsonElement::getAsJsonObject).toList();
  }

  private static int[] ids(JsonObject one) {
    return one.getAsJsonArray("ids").asList().stream().mapToInt(JsonElement::getAsInt).toArray();
  }

  /** Appends a field to the model: a later one overrides an earlier. */
  private void append(int... bytes) throws IOException {
    byte[] model = Files.readAllBytes(dir.resolve("tokenizer.model"));
    byte[] longer = Arrays.copyOf(model, model.length + bytes.length);
    for (int i = 0; i < bytes.length; i++) {
      longer[model.length + i] = (byte) bytes[i];
    }
    Files.write(dir.resolve("tokenizer.model"), longer);
  }

  @Test
  void idsAreThoseOfSentencePiece() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      for (JsonObject one : expected()) {
        String text = one.get("text").getAsString();
        assertThat(tokenizer.encodeText(text)).as(text).isEqualTo(ids(one));
        assertThat(tokenizer.decode(tokenizer.encodeText(text))).isEqualTo(text.replace('▁', ' '));
      }
      assertThat(tokenizer.bosIds()).containsExactly(1);
      assertThat(tokenizer.eosId()).hasValue(2);
      assertThat(tokenizer.unkId()).hasValue(0);
      assertThat(tokenizer.vocabularySize()).isEqualTo(400);
      json(MODEL.resolve("added_tokens.json"))
          .asMap()
          .forEach((name, id) -> assertThat(tokenizer.tokenId(name)).hasValue(id.getAsInt()));
      assertThat(tokenizer).hasToString(dir.resolve("tokenizer.model").toString());
    }
  }

  @Test
  void vectorsAreThoseOfTransformers() throws IOException {
    try (Encoder encoder =
        Encoder.builder(dir)
            .template(PromptTemplate.LLAMA2VEC)
            .computeType(ComputeType.FLOAT32)
            .threads(1)
            .build()) {
      for (JsonObject one : expected()) {
        for (Mode mode : one.has("self") ? Mode.values() : new Mode[0]) {
          JsonArray vector = one.getAsJsonArray(mode == Mode.SELF ? "self" : "next");
          float[] found = encoder.encode(one.get("text").getAsString(), mode);
          for (int i = 0; i < found.length; i++) {
            // Both are float32; expected numbers have seven digits.
            assertThat(found[i])
                .as("%s %s", one, mode)
                .isCloseTo(vector.get(i).getAsFloat(), within(5e-6f));
          }
        }
      }
    }
  }

  @Test
  void theModelAloneIsEnough() throws IOException {
    for (String name : List.of("added_tokens", "special_tokens_map", "tokenizer_config")) {
      Files.delete(dir.resolve(name + ".json"));
    }
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(tokenizer.encodeText(expected().get(0).get("text").getAsString()))
          .isEqualTo(ids(expected().get(0)));
      assertThat(tokenizer.bosIds()).containsExactly(1);
      assertThat(tokenizer.eosId()).hasValue(2);
      assertThat(tokenizer.vocabularySize()).isEqualTo(384);
    }
  }

  @Test
  void aFastTokenizerComesFirst() throws IOException {
    Files.writeString(dir.resolve("tokenizer.json"), "{}");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> Tokenizer.load(dir))
        .withMessageContaining("tokenizer.json");
  }

  @ParameterizedTest
  @CsvSource({"false, false, ''", "true, true, '1'", "true, false, '1'"})
  void theConfigurationSaysWhatIsPutAround(boolean bos, boolean eos, String before)
      throws IOException {
    JsonObject config = json(dir.resolve("tokenizer_config.json"));
    config.addProperty("add_bos_token", bos);
    config.addProperty("add_eos_token", eos);
    Files.writeString(dir.resolve("tokenizer_config.json"), config.toString());
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(Arrays.stream(tokenizer.bosIds()).mapToObj(Integer::toString).toList())
          .isEqualTo(before.isEmpty() ? List.of() : List.of(before));
    }
    JsonArray single =
        Tokenizer.converted(dir)
            .map(json -> json.get("post_processor"))
            .filter(JsonElement::isJsonObject)
            .map(json -> json.getAsJsonObject().getAsJsonArray("single"))
            .orElseGet(JsonArray::new);
    assertThat(single).hasSize(bos || eos ? 1 + (bos ? 1 : 0) + (eos ? 1 : 0) : 0);
  }

  @Test
  void aSpaceBeforeATextCanBeSwitchedOff() throws IOException {
    JsonObject config = json(dir.resolve("tokenizer_config.json"));
    config.addProperty("add_prefix_space", false);
    Files.writeString(dir.resolve("tokenizer_config.json"), config.toString());
    try (Tokenizer tokenizer = Tokenizer.load(dir);
        Tokenizer usual = Tokenizer.load(MODEL)) {
      assertThat(tokenizer.encodeText(" The encoder")).isEqualTo(usual.encodeText("The encoder"));
      assertThat(tokenizer.token(tokenizer.encodeText("xx")[0])).doesNotStartWith("▁");
    }
  }

  /** In the way of Mistral: not legacy, an ordinary token added. */
  @Test
  void addedTokensKeepTheirFlags() throws IOException {
    JsonObject config = json(dir.resolve("tokenizer_config.json"));
    config.addProperty("legacy", false);
    JsonObject token =
        JsonParser.parseString("{'content': 'supersonic', 'lstrip': true, 'special': false}")
            .getAsJsonObject();
    config.getAsJsonObject("added_tokens_decoder").add("400", token);
    Files.writeString(dir.resolve("tokenizer_config.json"), config.toString());
    JsonObject converted = Tokenizer.converted(dir).orElseThrow();
    JsonArray added = converted.getAsJsonArray("added_tokens");
    JsonObject last = added.get(added.size() - 1).getAsJsonObject();
    assertThat(last.get("id").getAsInt()).isEqualTo(400);
    assertThat(last.get("lstrip").getAsBoolean()).isTrue();
    assertThat(last.get("special").getAsBoolean()).isFalse();
    assertThat(added.get(4).getAsJsonObject().get("special").getAsBoolean()).isTrue();
    assertThat(converted.getAsJsonObject("pre_tokenizer").get("prepend_scheme").getAsString())
        .isEqualTo("first");
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(tokenizer.tokenId("supersonic")).hasValue(400);
      JsonObject one = expected().get(0);
      assertThat(tokenizer.encodeText(one.get("text").getAsString())).isEqualTo(ids(one));
    }
  }

  /** The slow tokenizer gives what follows an added token a space of its own, if it is legacy. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void addedWordsAreFoundInTexts(boolean legacy) throws IOException {
    JsonObject config = json(dir.resolve("tokenizer_config.json"));
    config.addProperty("legacy", legacy);
    Files.writeString(dir.resolve("tokenizer_config.json"), config.toString());
    JsonObject added = json(dir.resolve("added_tokens.json"));
    added.addProperty("supersonic", 400);
    Files.writeString(dir.resolve("added_tokens.json"), added.toString());
    try (Tokenizer tokenizer = Tokenizer.load(dir);
        Tokenizer sentencePiece = Tokenizer.load(MODEL)) {
      assertThat(tokenizer.encodeText("A supersonic text"))
          .isEqualTo(
              Ints.concat(
                  sentencePiece.encodeText("A "),
                  new int[] {400},
                  sentencePiece.encodeText(legacy ? " text" : "text")));
      assertThat(tokenizer.encodeText("<s1>")).isEqualTo(sentencePiece.encodeText("<s1>"));
    }
  }

  @Test
  void namesThatContradictTheModelAreRefused() throws IOException {
    Files.writeString(dir.resolve("added_tokens.json"), "{\"<s1>\": 5}");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> Tokenizer.load(dir))
        .withMessageContaining("tokenizer.model")
        .withMessageContaining("both have the token id 5");
    Files.writeString(dir.resolve("added_tokens.json"), "{}");
    JsonObject config = json(dir.resolve("tokenizer_config.json"));
    config.addProperty("bos_token", "<begin>");
    Files.writeString(dir.resolve("tokenizer_config.json"), config.toString());
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> Tokenizer.load(dir))
        .withMessageContaining("tokenizer_config.json: key 'bos_token' is '<begin>'");
  }

  @Test
  void aTruncatedModelIsRefusedWhereverItEnds() throws IOException {
    byte[] model = Files.readAllBytes(dir.resolve("tokenizer.model"));
    for (int length = 0; length < model.length - 60; length += length < 100 ? 1 : 61) {
      Files.write(dir.resolve("tokenizer.model"), Arrays.copyOf(model, length));
      assertThatExceptionOfType(ModelLoadException.class)
          .as("%d bytes", length)
          .isThrownBy(() -> Tokenizer.load(dir))
          .withMessageContaining("tokenizer.model: is not a SentencePiece model, or is damaged");
    }
  }

  @Test
  void aDamagedModelIsNoCrash() throws IOException {
    byte[] model = Files.readAllBytes(dir.resolve("tokenizer.model"));
    int refused = 0;
    for (int seed = 0; seed < 150; seed++) {
      Random random = new Random(seed);
      byte[] damaged = model.clone();
      for (int i = 0; i <= random.nextInt(4); i++) {
        damaged[random.nextInt(damaged.length)] = (byte) random.nextInt(256);
      }
      Files.write(dir.resolve("tokenizer.model"), damaged);
      try (Tokenizer tokenizer = Tokenizer.load(dir)) {
        assertThat(tokenizer.encodeText("The encoder 🦙")).isNotEmpty();
      } catch (LlaraException e) {
        assertThat(e.getMessage()).as("seed %d", seed).contains(dir.toString());
        refused++;
      }
    }
    assertThat(refused).isBetween(20, 149);
  }

  @Test
  void otherKindsOfModelsAreRefusedByName() throws IOException {
    append(2 << 3 | 2, 2, 3 << 3, 1);
    assertUnsupported("has model type UNIGRAM, which is not supported; supported: BPE");
    dir = Directories.copy(MODEL, temp.resolve("second"));
    append(3 << 3 | 2, 3, 2 << 3 | 2, 1, 'x');
    assertUnsupported("has normalisation 'identity', which is not supported");
    dir = Directories.copy(MODEL, temp.resolve("third"));
    append(3 << 3 | 2, 2, 4 << 3, 1);
    assertUnsupported("has remove_extra_whitespaces true");
    dir = Directories.copy(MODEL, temp.resolve("fourth"));
    append(1 << 3 | 2, 6, 1 << 3 | 2, 2, 'q', '~', 3 << 3, 5);
    assertUnsupported("has a piece of type UNUSED");
    // LLaMA 3's first release had a list of another kind under this name.
    Files.writeString(dir.resolve("tokenizer.model"), "IQ== 0\nIg== 1\n");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> Tokenizer.load(dir))
        .withMessageContaining("is not a SentencePiece model");
  }

  private void assertUnsupported(String message) {
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> Tokenizer.load(dir))
        .withMessageContaining(dir.resolve("tokenizer.model") + ": " + message);
  }

  /**
   * The vocabularies of published models as SentencePiece models; a digest of the ids that
   * SentencePiece itself gives, and the vocabulary's own tokenizer.json. That of OpenLLaMA lacks
   * merges ({@code ▁t}) and gives other ids than SentencePiece.
   */
  @ParameterizedTest
  @CsvSource({
    "llama2, true, cb70bc35e979f903293e66f46f5972a8a0d1e6d0842ff1bd69252080d750d027",
    "mistral-v0.1, true, 5d93fe711a9cbd66ccda4b12c8d56fdb46eea2000afdf2b6be7e5f00d83b5f7b",
    "open-llama, false, bc85f7f5d62bb6bbc056af7d3e004c610cb1911502305f08bc73cab9f74cb39a",
  })
  void aThousandTextsHaveTheIdsOfSentencePiece(String name, boolean asFast, String digest)
      throws IOException {
    Path original = Shared.require().resolve("data/tokenizers").resolve(name);
    Path slow = Files.createDirectory(temp.resolve("slow"));
    Files.write(slow.resolve("tokenizer.model"), model(json(original.resolve("tokenizer.json"))));
    Files.copy(original.resolve("tokenizer_config.json"), slow.resolve("tokenizer_config.json"));
    Hasher hasher = Hashing.sha256().newHasher();
    List<String> texts = sharedTexts();
    try (Tokenizer fast = Tokenizer.load(original);
        Tokenizer found = Tokenizer.load(slow)) {
      assertThat(found.bosIds()).isEqualTo(fast.bosIds());
      assertThat(found.eosId()).isEqualTo(fast.eosId());
      for (String text : texts) {
        int[] ids = found.encodeText(text);
        if (asFast) {
          assertThat(ids).as(text).isEqualTo(fast.encodeText(text));
        }
        hasher.putString(Ints.join(" ", ids) + "\n", StandardCharsets.UTF_8);
      }
    }
    assertThat(texts).hasSize(1002);
    assertThat(hasher.hash()).hasToString(digest);
  }

  private static List<String> sharedTexts() {
    List<String> texts = new ArrayList<>();
    for (String file : List.of("wikipedia-en-sample", "gutenberg-litbank", "microsoft-docs")) {
      try (LineReader lines =
          new LineReader(Shared.require().resolve("data/text/" + file + ".jsonl.gz"))) {
        for (int i = 0; i < 334 && lines.advance(); i++) {
          String text = lines.json().requiredString("text");
          int characters = Math.min(2000, text.codePointCount(0, text.length()));
          texts.add(text.substring(0, text.offsetByCodePoints(0, characters)));
        }
      }
    }
    return texts;
  }

  /** Writes a vocabulary as its SentencePiece model has it: scores that fall with the ids. */
  private static byte[] model(JsonObject tokenizer) {
    JsonObject vocabulary = tokenizer.getAsJsonObject("model").getAsJsonObject("vocab");
    String[] tokens = new String[vocabulary.size()];
    vocabulary.asMap().forEach((token, id) -> tokens[id.getAsInt()] = token);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int id = 0; id < tokens.length; id++) {
      boolean isByte = tokens[id].matches("<0x[0-9A-F]{2}>");
      int type = id == 0 ? 2 : id < 3 ? 3 : isByte ? 6 : 1;
      // LLaMA 2 gives all runs of spaces one score, the lowest.
      float score = type != 1 ? 0 : tokens[id].matches("\u2581{2,}") ? -1e9f : -id;
      byte[] text = tokens[id].getBytes(StandardCharsets.UTF_8);
      ByteBuffer piece = ByteBuffer.allocate(text.length + 20).order(ByteOrder.LITTLE_ENDIAN);
      piece.put((byte) (1 << 3 | 2)).put((byte) text.length).put(text);
      piece.put((byte) (2 << 3 | 5)).putFloat(score).put((byte) (3 << 3)).put((byte) type);
      out.write(1 << 3 | 2);
      out.write(varint(piece.flip().limit()), 0, 2);
      out.write(piece.array(), 0, piece.limit());
    }
    // BPE; no removal of white space.
    out.writeBytes(new byte[] {2 << 3 | 2, 2, 3 << 3, 2, 3 << 3 | 2, 2, 4 << 3, 0});
    return out.toByteArray();
  }

  private static byte[] varint(int number) {
    return new byte[] {(byte) (number | 0x80), (byte) (number >>> 7)};
  }
}
