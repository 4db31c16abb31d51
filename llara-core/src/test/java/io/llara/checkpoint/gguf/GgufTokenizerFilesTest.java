package io.llara.checkpoint.gguf;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.testing.Shared;
import io.llara.testing.Texts;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is written is loaded again by the tokenizer. */
class GgufTokenizerFilesTest {
  @TempDir Path dir;

  private Tokenizer imported(GgufBuilder gguf) {
    Path out = dir.resolve("out");
    GgufImporter.builder(gguf.write(dir.resolve("model.gguf"))).build().write(out);
    return Tokenizer.load(out);
  }

  private static List<String> names(Tokenizer tokenizer, String text) {
    List<String> names = new ArrayList<>();
    for (int id : tokenizer.encodeText(text)) {
      names.add(tokenizer.token(id));
    }
    return names;
  }

  @Test
  void aByteLevelVocabularyMergesWithinItsPieces() {
    try (Tokenizer tokenizer = imported(GgufModels.small())) {
      assertThat(names(tokenizer, "ab ab  b's"))
          .containsExactly("ab", "Ġab", "Ġ", "Ġ", "b", "'", "s");
      assertThat(names(tokenizer, "12 a12")).containsExactly("12", "Ġa", "12");
      assertThat(tokenizer.decode(tokenizer.encodeText("ab  ab 12"))).isEqualTo("ab  ab 12");
      assertThat(tokenizer.bosIds()).isEmpty();
      assertThat(tokenizer.eosToken()).contains("<|eos|>");
      assertThat(tokenizer.tokenId("<|unk|>")).hasValue(2);
      assertThat(tokenizer.vocabularySize()).isEqualTo(GgufModels.TOKENS.size());
    }
  }

  @Test
  void controlTokensAreNotSpelledByATextButKnownByName() {
    try (Tokenizer tokenizer = imported(GgufModels.small())) {
      assertThat(tokenizer.encodeText("<|eos|>")).doesNotContain(1);
      assertThat(tokenizer.tokenId("<|eos|>")).hasValue(1);
      assertThat(tokenizer.decode(new int[] {0, 3, 1})).isEqualTo("<|bos|>a<|eos|>");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      quoteCharacter = '"',
      value = {
        "smollm; 12 a; 1 2 Ġa",
        "gpt-2; 12 a; 12 Ġa",
        "llama-bpe; 12 a; 12 Ġa",
        "qwen2; 12 a; 1 2 Ġa",
        "falcon; 12'ab; 12 ' ab",
        "default; 's; ' s",
        "gpt-2; 's; ' s",
        "deepseek-coder; 12 a; 1 2 Ġa"
      })
  void thePreTokenizerIsTheNamedOne(String name, String text, String expected) {
    try (Tokenizer tokenizer = imported(GgufModels.small().put("tokenizer.ggml.pre", name))) {
      assertThat(String.join(" ", names(tokenizer, text))).isEqualTo(expected);
    }
  }

  @ParameterizedTest
  @EnumSource(GgufPreTokenizer.class)
  void everyPreTokenizerLoads(GgufPreTokenizer one) {
    String name = GgufPreTokenizer.names().split(", ")[0];
    for (String known : GgufPreTokenizer.names().split(", ")) {
      if (GgufPreTokenizer.named(known).filter(one::equals).isPresent()) {
        name = known;
      }
    }
    try (Tokenizer tokenizer = imported(GgufModels.small().put("tokenizer.ggml.pre", name))) {
      for (String text : List.of("ab 's 12\r\n  a\t1", "", " ", "日本 🦙 «½»")) {
        assertThat(tokenizer.encodeText(text)).isNotNull();
      }
      assertThat(tokenizer.decode(tokenizer.encodeText("a 12  ab's"))).isEqualTo("a 12  ab's");
    }
  }

  @Test
  void aPieceThatIsATokenIsTakenWhereMergesAreIgnored() {
    // "ab" is a token; without its merge only llama-bpe finds it.
    GgufBuilder gguf =
        GgufModels.small()
            .put("tokenizer.ggml.merges", List.of("1 2"))
            .put("tokenizer.ggml.pre", "llama-bpe");
    try (Tokenizer tokenizer = imported(gguf)) {
      assertThat(names(tokenizer, "ab")).containsExactly("ab");
      assertThat(tokenizer.bosIds()).containsExactly(0);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void theEndsAreMarkedAsTheFileSays(boolean marked) throws IOException {
    GgufBuilder gguf =
        GgufModels.small()
            .put("tokenizer.ggml.add_bos_token", marked)
            .put("tokenizer.ggml.add_eos_token", marked);
    try (Tokenizer tokenizer = imported(gguf)) {
      assertThat(tokenizer.bosIds()).isEqualTo(marked ? new int[] {0} : new int[0]);
    }
    JsonElement processor = json("tokenizer.json").get("post_processor");
    assertThat(processor.isJsonNull()).isEqualTo(!marked);
    if (marked) {
      assertThat(processor.getAsJsonObject().getAsJsonArray("single")).hasSize(3);
      assertThat(processor.getAsJsonObject().getAsJsonArray("pair")).hasSize(6);
    }
  }

  private JsonObject json(String name) throws IOException {
    return JsonParser.parseString(Files.readString(dir.resolve("out").resolve(name)))
        .getAsJsonObject();
  }

  @Test
  void userDefinedTokensAreAddedButNotSpecial() throws IOException {
    int[] types = new int[GgufModels.TOKENS.size()];
    Arrays.fill(types, 1);
    types[2] = 4;
    types[5] = 3;
    imported(GgufModels.small().put("tokenizer.ggml.token_type", types)).close();
    JsonArray added = json("tokenizer.json").getAsJsonArray("added_tokens");
    List<String> described = new ArrayList<>();
    for (JsonElement token : added) {
      JsonObject object = token.getAsJsonObject();
      described.add(object.get("id") + " " + object.get("special"));
    }
    // 0 and 1 are BOS and EOS, whatever their type.
    assertThat(described).containsExactly("0 true", "1 true", "2 false", "5 true");
    assertThat(json("tokenizer_config.json").getAsJsonObject("added_tokens_decoder").keySet())
        .containsExactly("0", "1", "2", "5");
  }

  @Test
  void mergesOfTokensWithSpacesAreWrittenAsPairs() throws IOException {
    List<String> tokens = new ArrayList<>(GgufModels.TOKENS);
    tokens.set(14, "a ");
    tokens.set(15, "a b");
    GgufBuilder gguf =
        GgufModels.small()
            .put("tokenizer.ggml.model", "llama")
            .put("tokenizer.ggml.tokens", tokens)
            .put("tokenizer.ggml.scores", new float[tokens.size()]);
    imported(gguf).close();
    JsonArray merges = json("tokenizer.json").getAsJsonObject("model").getAsJsonArray("merges");
    assertThat(merges).isNotEmpty().allMatch(JsonElement::isJsonArray);
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama2", "mistral-v0.1", "open-llama"})
  void sharedVocabulariesGiveTheIdsOfTheirOwnTokenizer(String name) {
    Path original = Shared.require().resolve("data/tokenizers").resolve(name);
    GgufBuilder gguf = GgufModels.small().capacity(8 << 20);
    GgufModels.sentencePiece(gguf, original.resolve("tokenizer.json"));
    gguf.removeTensor("token_embd.weight");
    GgufModels.add(gguf, "token_embd.weight", 32000, GgufModels.HIDDEN);
    try (Tokenizer expected = Tokenizer.load(original);
        Tokenizer found = imported(gguf)) {
      assertThat(found.bosIds()).isEqualTo(expected.bosIds());
      List<String> texts = new ArrayList<>(Texts.random(200, 60, 20241105));
      texts.addAll(
          List.of(
              "The quick brown fox: summarize the",
              "a\tb\t\tc\n\nd\r\n  e",
              " ".repeat(37) + "x" + " ".repeat(5),
              "3141592653589793238462643383279",
              "日本語のテキスト と English, Русский, العربية",
              "👩‍👩‍👧 🏳️‍🌈 é",
              "aaaaaaaaaaaaaaaaaaaaa ----------- ====="));
      for (String text : texts) {
        assertThat(found.encodeText(text)).as(text).isEqualTo(expected.encodeText(text));
      }
    }
  }

  @Test
  void withoutASpaceBeforeATextThereIsNone() {
    List<String> tokens = new ArrayList<>(GgufModels.TOKENS);
    tokens.set(6, "\u2581");
    GgufBuilder gguf =
        GgufModels.small()
            .put("tokenizer.ggml.model", "llama")
            .put("tokenizer.ggml.tokens", tokens)
            .put("tokenizer.ggml.scores", new float[tokens.size()])
            .put("tokenizer.ggml.add_space_prefix", false);
    try (Tokenizer tokenizer = imported(gguf)) {
      assertThat(names(tokenizer, "b c")).containsExactly("b", "\u2581", "c");
      assertThat(tokenizer.decode(tokenizer.encodeText("b c"))).isEqualTo("b c");
    }
  }
}
