package io.llara.tokenize;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.Mode;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Added tokens that are not special are vocabulary: ids as of transformers, written by
 * benchmarks/scripts/added-tokens.py.
 */
class AddedTokensTest {
  @TempDir Path dir;

  static Stream<Arguments> cases() throws IOException {
    Path expected = TestTokenizers.stories().resolveSibling("added-tokens/expected.json");
    JsonArray cases = JsonParser.parseString(Files.readString(expected)).getAsJsonArray();
    return StreamSupport.stream(cases.spliterator(), false)
        .map(JsonElement::getAsJsonObject)
        .map(json -> Arguments.of(json.get("name").getAsString(), json));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("cases")
  void textsHaveTheIdsOfTransformers(String name, JsonObject expected) throws IOException {
    TestTokenizers.changed(
        dir,
        json -> {
          json.getAsJsonArray("added_tokens").addAll(expected.getAsJsonArray("added"));
          expected.getAsJsonObject("pipeline").asMap().forEach(json::add);
        });
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      for (Map.Entry<String, JsonElement> text : expected.getAsJsonObject("ids").entrySet()) {
        assertThat(tokenizer.encodeText(text.getKey()))
            .as(text.getKey())
            .containsExactly(new Gson().fromJson(text.getValue(), int[].class));
      }
    }
  }

  @Test
  void aMarkerOfTheTemplateIsTextWhateverTheFileSays() throws IOException {
    TestTokenizers.changed(
        dir,
        json -> {
          JsonArray added = json.getAsJsonArray("added_tokens");
          added.add(TestTokenizers.addedToken("<mark>", 512, false));
          added.add(TestTokenizers.addedToken("supersonic", 513, false));
        });
    PromptTemplate template =
        PromptTemplate.builder("t").selfMarkers("<mark>").nextMarkers("<mark>").build();
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(tokenizer.encodeText("a <mark> b")).contains(512);

      int[] ids =
          PromptBuilder.create(template, tokenizer)
              .build("a <mark> of supersonic", Mode.SELF, 99)
              .ids();

      assertThat(IntStream.of(ids).filter(id -> id == 512).count()).isOne();
      assertThat(ids).contains(513).endsWith(512);
      assertThat(tokenizer.decode(ids)).isEqualTo("<s> a <mark> ofsupersonic<mark>");
    }
  }

  @Test
  void addedTokensOfAUnigramVocabularyKeepTheirIds() throws IOException {
    TestTokenizers.changed(
        dir,
        json -> {
          json.add("normalizer", null);
          json.add(
              "model",
              JsonParser.parseString(
                  "{'type':'Unigram','unk_id':0,'byte_fallback':false,'vocab':[['<unk>',0],"
                      + "['<s>',0],['</s>',0.0],['b',-3.25],['a',-3.0],['ba',-1e1]]}"));
          JsonArray added = json.getAsJsonArray("added_tokens");
          added.add(TestTokenizers.addedToken("<s1>", 6, true));
          added.add(TestTokenizers.addedToken("bab", 9, false));
        });
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(tokenizer.encodeText("ababab")).containsExactly(4, 9, 4, 3);
      assertThat(tokenizer.encodeText("<s1>")).doesNotContain(6, 7, 8);
      assertThat(tokenizer.vocabularySize()).isEqualTo(10);
    }
  }
}
