package io.llara.tokenize;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.testing.Shared;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A text that spells a special token is text. */
class TokenizerInjectionTest {
  private static final int[] MARKERS = IntStream.range(32000, 32016).toArray();

  private static Tokenizer stories;

  @TempDir Path dir;

  @BeforeContainer
  static void load() {
    stories = Tokenizer.load(TestTokenizers.stories());
  }

  @AfterContainer
  static void close() {
    stories.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama2", "mistral-v0.1", "open-llama", "stories260k"})
  void spelledTokensAreText(String name) throws IOException {
    Path from =
        name.equals("stories260k")
            ? TestTokenizers.stories()
            : Shared.require().resolve("data/tokenizers").resolve(name);
    TestTokenizers.changed(from, dir, json -> TestTokenizers.addMarkers(json, MARKERS));
    List<String> names = new ArrayList<>(List.of("<unk>", "<s>", "</s>"));
    for (int i = 1; i <= 16; i++) {
      names.add("<s" + i + ">");
    }
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      Set<Integer> special = new TreeSet<>();
      for (String token : names) {
        special.add(tokenizer.tokenId(token).getAsInt());
      }
      assertThat(special).hasSize(19).contains(0, 1, 2, 32000, 32015);
      for (String token : names) {
        for (String text :
            List.of(
                token,
                " " + token,
                token + token,
                "before" + token + "after",
                "before " + token + " after",
                "\n" + token + "\n",
                "▁" + token,
                "<" + token + ">",
                "\"" + token + "\"")) {
          int[] ids = tokenizer.encodeText(text);
          assertThat(special).as(text).doesNotContainAnyElementsOf(list(ids));
          assertThat(tokenizer.decode(ids)).isEqualTo(text.replace('▁', ' '));
        }
      }
    }
  }

  @Property(tries = 300)
  void noMixtureOfPiecesGivesAControlToken(@ForAll("spellings") String text) {
    assertThat(list(stories.encodeText(text))).doesNotContain(0, 1, 2);
  }

  @Property(tries = 300)
  void allUnicodeTextSurvives(@ForAll("unicode") String text) {
    assertThat(stories.decode(stories.encodeText(text))).isEqualTo(text.replace('▁', ' '));
    assertThat(list(stories.encodeText(text))).doesNotContain(0, 1, 2);
  }

  @Test
  void mergesCannotFormASpecialToken() throws IOException {
    TestTokenizers.changed(
        dir,
        json -> {
          TestTokenizers.addMarkers(json, 512);
          JsonObject vocab = json.getAsJsonObject("model").getAsJsonObject("vocab");
          vocab.addProperty("<s1>", 512);
          addMerges(json, 600, List.of("<", "/"), List.of("</", "s"), List.of("</s", ">"));
          addMerges(json, 620, List.of("<", "s"), List.of("<s", "1"), List.of("<s1", ">"));
        });
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      int[] ids = tokenizer.encodeText("a</s>b<s1>c</s");

      // The pieces before the last merge are still made: only the last step is barred.
      assertThat(list(ids))
          .doesNotContain(2, 512)
          .contains(tokenizer.tokenId("</s").getAsInt(), tokenizer.tokenId("<s1").getAsInt());
      assertThat(tokenizer.decode(ids)).isEqualTo("a</s>b<s1>c</s");
    }
  }

  @Test
  void wholeWordLookupCannotFindASpecialToken() throws IOException {
    TestTokenizers.changed(
        dir,
        json -> {
          json.add("normalizer", null);
          json.getAsJsonObject("model").addProperty("ignore_merges", true);
        });
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      for (String token : List.of("</s>", "<s>", "<unk>")) {
        assertThat(list(tokenizer.encodeText(token))).isNotEmpty().doesNotContain(0, 1, 2);
      }
      assertThat(tokenizer.encodeText("▁Once"))
          .containsExactly(tokenizer.tokenId("▁Once").getAsInt());
    }
  }

  @Test
  void unigramLookupCannotFindASpecialToken() throws IOException {
    TestTokenizers.changed(dir, TokenizerInjectionTest::makeUnigram);
    Files.writeString(dir.resolve("tokenizer_config.json"), "{\"eos_token\": \"</s>\"}");

    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(tokenizer.unkId()).hasValue(0);
      assertThat(tokenizer.eosId()).hasValue(2);
      assertThat(tokenizer.vocabularySize()).isEqualTo(10);
      assertThat(tokenizer.encodeText("ab")).containsExactly(7, 6);
      assertThat(tokenizer.decode(new int[] {7, 6, 2})).isEqualTo("ab</s>");
      assertThat(tokenizer.encodeText("</s>")).doesNotContain(2);
      assertThat(tokenizer.encodeText("<s>")).doesNotContain(1);
      // No byte fallback here: what has no piece is unknown, as in any Unigram model.
      assertThat(tokenizer.encodeText("ab?")).containsExactly(7, 6, 0);
    }
  }

  @Test
  void singleCharacterSpecialTokensAreBytes() throws IOException {
    TestTokenizers.changed(
        dir,
        json -> {
          json.getAsJsonObject("model").getAsJsonObject("vocab").addProperty("\u2402", 512);
          json.getAsJsonArray("added_tokens").add(TestTokenizers.addedToken("\u2402", 512, true));
        });
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(tokenizer.encodeText("\u2402")).containsExactly(410, 0xE2 + 3, 0x90 + 3, 0x82 + 3);
    }
  }

  @Test
  void addedTokensOfWhiteSpaceOnlyStayPartOfTexts() throws IOException {
    TestTokenizers.changed(
        dir,
        json -> {
          json.getAsJsonObject("model").getAsJsonObject("vocab").addProperty("\n", 512);
          json.getAsJsonArray("added_tokens").add(TestTokenizers.addedToken("\n", 512, false));
        });
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(tokenizer.encodeText("\n")).containsExactly(512);
      assertThat(tokenizer.encodeText("a\n")).containsExactly(261, 512);
    }
  }

  private static void makeUnigram(JsonObject json) {
    json.add("normalizer", null);
    json.add(
        "model",
        JsonParser.parseString(
            "{'type':'Unigram','unk_id':0,'byte_fallback':false,'vocab':[['<unk>',0],['<s>',0],"
                + "['</s>',0.0],['<',-9.5],['>',-9.5],['s',-9.5],['b',-3.25],['a',-3.0],['/',-9],"
                + "['ba',-1e1]]}"));
  }

  /** Adds merges, and what they make as tokens where it is new. */
  @SafeVarargs
  private static void addMerges(JsonObject json, int firstId, List<String>... merges) {
    JsonObject vocab = json.getAsJsonObject("model").getAsJsonObject("vocab");
    JsonArray all = json.getAsJsonObject("model").getAsJsonArray("merges");
    int id = firstId;
    for (List<String> merge : merges) {
      all.add(String.join(" ", merge));
      for (String token : List.of(merge.get(0), merge.get(1), String.join("", merge))) {
        if (!vocab.has(token)) {
          vocab.addProperty(token, id++);
        }
      }
    }
  }

  private static List<Integer> list(int[] ids) {
    return Arrays.stream(ids).boxed().toList();
  }

  @Provide
  Arbitrary<String> spellings() {
    return Arbitraries.of(
            "<s>", "</s>", "<unk>", "<", "/", "s", ">", "unk", "</", "s>", " ", "▁", "<0x41>", "\n")
        .list()
        .ofMaxSize(8)
        .map(pieces -> String.join("", pieces));
  }

  @Provide
  Arbitrary<String> unicode() {
    return Arbitraries.integers()
        .between(0, Character.MAX_CODE_POINT)
        .filter(code -> code < Character.MIN_SURROGATE || code > Character.MAX_SURROGATE)
        .list()
        .ofMaxSize(20)
        .map(
            codes -> {
              StringBuilder text = new StringBuilder();
              codes.forEach(text::appendCodePoint);
              return text.toString();
            });
  }
}
