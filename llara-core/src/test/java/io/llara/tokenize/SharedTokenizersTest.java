package io.llara.tokenize;

import static org.assertj.core.api.Assertions.assertThat;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.google.common.primitives.Ints;
import com.google.common.primitives.Longs;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.Mode;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Shared;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Published tokenizers, against the unreduced native tokenizer and published ids. */
class SharedTokenizersTest {
  private static final Map<String, String> PLAIN =
      Map.of("addSpecialTokens", "false", "padding", "false", "truncation", "false");

  @TempDir Path dir;

  @ParameterizedTest
  @ValueSource(strings = {"llama2", "mistral-v0.1", "open-llama"})
  void ordinaryTextGivesTheIdsOfTheUnreducedTokenizer(String name) throws IOException {
    Path from = Shared.require().resolve("data/tokenizers").resolve(name);
    try (Tokenizer tokenizer = Tokenizer.load(from);
        InputStream json = Files.newInputStream(from.resolve("tokenizer.json"));
        HuggingFaceTokenizer whole = HuggingFaceTokenizer.newInstance(json, PLAIN)) {
      assertThat(tokenizer.bosIds()).isEqualTo(ints(whole.encode("", true, false).getIds()));
      assertThat(tokenizer.vocabularySize()).isEqualTo(32000);
      assertThat(tokenizer.eosId()).hasValue(2);
      assertThat(tokenizer.unkId()).hasValue(0);
      for (String text : texts()) {
        long[] expected = whole.encode(text, false, false).getIds();
        int[] ids = tokenizer.encodeText(text);
        assertThat(ids).as(text).isEqualTo(ints(expected));
        assertThat(tokenizer.decode(ids)).isEqualTo(whole.decode(expected, false));
      }
    }
  }

  @Test
  void llama2GivesTheIdsNotedWithTheData() {
    Path from = Shared.require().resolve("data/tokenizers/llama2");
    try (Tokenizer tokenizer = Tokenizer.load(from)) {
      assertThat(tokenizer.encodeText("The quick brown fox: summarize the"))
          .containsExactly(450, 4996, 17354, 1701, 29916, 29901, 19138, 675, 278);
      assertThat(tokenizer.encodeText("🦙\u0000"))
          .containsExactly(29871, 0xF0 + 3, 0x9F + 3, 0xA6 + 3, 0x99 + 3, 3);
    }
  }

  @Test
  void suffixesOfTheReleasedRecipeHaveThePublishedIds() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.llama2WithMarkers(dir))) {
      PromptBuilder builder = PromptBuilder.create(PromptTemplate.LLAMA2VEC, tokenizer);

      assertThat(builder.prefixIds(Mode.SELF)).containsExactly(1, 376);
      assertThat(builder.prefixIds(Mode.NEXT)).containsExactly(1, 376);
      assertThat(builder.suffixIds(Mode.SELF))
          .containsExactly(
              9162, 19138, 675, 278, 2038, 13382, 2629, 9475, 3838, 29901, 29871, 32008, 32011,
              32004, 32013, 32007, 32005, 32002, 32014);
      assertThat(builder.suffixIds(Mode.NEXT))
          .containsExactly(
              9162, 8500, 278, 1494, 13382, 2629, 9475, 3838, 29901, 29871, 32000, 32009, 32012,
              32001, 32010, 32003, 32006, 32015);
      assertThat(builder.buildJoint("a llama", 64).pooledSelf().length()).isEqualTo(8);
      assertThat(builder.canJoin()).isTrue();
      assertThat(tokenizer.vocabularySize()).isEqualTo(32016);
      assertThat(tokenizer.decode(builder.build("Llamas <s1>", Mode.SELF, 64).ids()))
          .isEqualTo(
              "<s> \" Llamas <s1> \", summarize the above passage within eight words:"
                  + "  <s1><s2><s3><s4><s5><s6><s7><s8>".substring(1));
    }
  }

  @Test
  void suffixesOfThePaperHaveTheIdsOfTheReference() {
    try (Tokenizer tokenizer = Tokenizer.load(Shared.require().resolve("data/tokenizers/llama2"))) {
      PromptBuilder builder = PromptBuilder.create(PromptTemplate.PAPER, tokenizer);

      assertThat(builder.prefixIds(Mode.SELF)).containsExactly(1);
      assertThat(builder.suffixIds(Mode.SELF)).containsExactly(450, 2441, 10541, 29901, 2);
      assertThat(builder.suffixIds(Mode.NEXT)).containsExactly(450, 2446, 10541, 29901, 2);
    }
  }

  @Test
  void instructionPrefixesJoinATextAsIfWrittenInOne() throws IOException {
    Path from = Shared.require().resolve("data/tokenizers/llama2");
    PromptTemplate template =
        PromptTemplate.builder("repllama")
            .selfPrefix("passage:")
            .nextPrefix("query:")
            .eos()
            .build();
    try (Tokenizer tokenizer = Tokenizer.load(from);
        InputStream json = Files.newInputStream(from.resolve("tokenizer.json"));
        HuggingFaceTokenizer whole = HuggingFaceTokenizer.newInstance(json, PLAIN)) {
      PromptBuilder builder = PromptBuilder.create(template, tokenizer);

      int[] ids = builder.build("What is llama?", Mode.NEXT, 64).ids();
      assertThat(Arrays.copyOf(ids, ids.length - 1))
          .isEqualTo(ints(whole.encode("query: What is llama?", true, false).getIds()));
      assertThat(ids[ids.length - 1]).isEqualTo(2);
    }
  }

  private static List<String> texts() throws IOException {
    List<String> texts =
        new ArrayList<>(
            List.of(
                "",
                " ",
                "  two  spaces ",
                "\n\ttabs and\r\nlines\n\n",
                "🦙 emoji 👩‍👩‍👧 and NUL \u0000!",
                "日本語のテキスト, русский, العربية",
                "e\u0301 é \uFB01 \u00A0 \u2028 \uFEFF \uFFFF",
                "x".repeat(3000)));
    Path corpus = Shared.require().resolve("data/beir/cranfield/corpus.jsonl");
    try (Stream<String> lines = Files.lines(corpus)) {
      lines
          .limit(100)
          .map(line -> JsonParser.parseString(line).getAsJsonObject())
          .map((JsonObject document) -> document.get("text").getAsString())
          .forEach(texts::add);
    }
    return texts;
  }

  private static int[] ints(long[] ids) {
    return Ints.toArray(Longs.asList(ids));
  }
}
