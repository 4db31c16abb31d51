package io.llara.prompt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.TokenizationException;
import io.llara.tokenize.TestTokenizers;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PromptBuilderTest {
  private static final int[] PREFIX = {1, 9};
  private static final int[] SELF_SUFFIX = {20, 21};
  private static final int[] NEXT_SUFFIX = {30, 31, 32};
  private static final PromptBuilder OF_IDS =
      PromptBuilder.ofIds(PREFIX, SELF_SUFFIX, NEXT_SUFFIX, 2);

  private static Tokenizer tokenizer;

  @BeforeAll
  static void load() {
    tokenizer = Tokenizer.load(TestTokenizers.stories());
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  @Test
  void promptIsPrefixTextSuffix() {
    Prompt self = OF_IDS.fromIds(new int[] {5, 6, 7}, Mode.SELF);
    Prompt next = OF_IDS.fromIds(new int[] {5, 6, 7}, Mode.NEXT);

    assertThat(self.ids()).containsExactly(1, 9, 5, 6, 7, 20, 21);
    assertThat(self.pooledSelf()).isEqualTo(new TokenRange(5, 7));
    assertThat(self.pooledNext().isEmpty()).isTrue();
    assertThat(self.truncatedTokens()).isZero();
    assertThat(next.ids()).containsExactly(1, 9, 5, 6, 7, 30, 31, 32);
    assertThat(next.pooledNext()).isEqualTo(new TokenRange(6, 8));
    assertThat(next.pooledSelf().isEmpty()).isTrue();
    assertThat(OF_IDS.prefixIds(Mode.SELF)).isEqualTo(PREFIX);
    assertThat(OF_IDS.suffixIds(Mode.NEXT)).isEqualTo(NEXT_SUFFIX);
  }

  @Test
  void longerSuffixIsReservedByDefaultSoThatAllModesKeepTheSameText() {
    int[] text = IntStream.range(100, 120).toArray();

    for (Prompt prompt :
        new Prompt[] {
          OF_IDS.fromIds(text, Mode.SELF, 10),
          OF_IDS.fromIds(text, Mode.NEXT, 10),
          OF_IDS.jointFromIds(text, 10)
        }) {
      assertThat(prompt.textIds()).containsExactly(100, 101, 102, 103, 104);
      assertThat(prompt.truncatedTokens()).isEqualTo(15);
      assertThat(Arrays.stream(prompt.positions()).max().getAsInt()).isLessThan(10);
    }
  }

  @Test
  void ownSuffixReservesWhatThePromptHas() {
    int[] text = IntStream.range(100, 120).toArray();
    PromptBuilder builder = OF_IDS.withReserve(Reserve.OWN_SUFFIX);

    assertThat(builder.fromIds(text, Mode.SELF, 10).length()).isEqualTo(10);
    assertThat(builder.fromIds(text, Mode.SELF, 10).textLength()).isEqualTo(6);
    assertThat(builder.fromIds(text, Mode.NEXT, 10).textLength()).isEqualTo(5);
    assertThat(builder.jointFromIds(text, 10).length()).isEqualTo(10);
    assertThat(builder.reserve()).isEqualTo(Reserve.OWN_SUFFIX);
  }

  @Test
  void bothSuffixesAreReservedForJointTraining() {
    int[] text = IntStream.range(100, 120).toArray();
    PromptBuilder builder = OF_IDS.withReserve(Reserve.BOTH_SUFFIXES);

    assertThat(builder.jointFromIds(text, 10).length()).isEqualTo(10);
    assertThat(builder.fromIds(text, Mode.SELF, 10).textLength()).isEqualTo(3);
    assertThat(builder.fromIds(text, Mode.NEXT, 10).textLength()).isEqualTo(3);
  }

  @Test
  void tooFewTokensAreRefusedWithTheLeastThatWorks() {
    assertThat(OF_IDS.minimumTokens()).isEqualTo(6);
    assertThat(OF_IDS.withReserve(Reserve.OWN_SUFFIX).minimumTokens()).isEqualTo(8);
    assertThat(OF_IDS.withReserve(Reserve.BOTH_SUFFIXES).minimumTokens()).isEqualTo(8);
    assertThat(OF_IDS.jointFromIds(new int[] {5, 6}, 6).textLength()).isEqualTo(1);
    for (int maxTokens : new int[] {5, 0, -1, Integer.MIN_VALUE}) {
      assertThatThrownBy(() -> OF_IDS.fromIds(new int[] {5}, Mode.SELF, maxTokens))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("maxTokens is " + maxTokens)
          .hasMessageContaining("at least 6");
    }
  }

  @Property
  void cutsKeepTheBeginningAndNeverTheSuffix(
      @ForAll @IntRange(min = 1, max = 40) int length,
      @ForAll @IntRange(min = 8, max = 40) int maxTokens,
      @ForAll Reserve reserve,
      @ForAll Mode mode) {
    int[] text = IntStream.range(100, 100 + length).toArray();
    PromptBuilder builder = OF_IDS.withReserve(reserve);

    for (Prompt prompt :
        new Prompt[] {
          builder.fromIds(text, mode, maxTokens), builder.jointFromIds(text, maxTokens)
        }) {
      assertThat(prompt.textLength()).isPositive();
      assertThat(prompt.textLength() + prompt.truncatedTokens()).isEqualTo(length);
      assertThat(prompt.textIds()).isEqualTo(Arrays.copyOf(text, prompt.textLength()));
      assertThat(Arrays.stream(prompt.positions()).max().getAsInt()).isLessThan(maxTokens);
      if (prompt.truncatedTokens() > 0 && reserve == Reserve.OWN_SUFFIX) {
        assertThat(prompt.length()).isEqualTo(maxTokens);
      }
    }
    int[] own = builder.fromIds(text, mode, maxTokens).ids();
    int[] suffix = builder.suffixIds(mode);
    assertThat(Arrays.copyOfRange(own, own.length - suffix.length, own.length)).isEqualTo(suffix);
  }

  @Test
  void badIdsAreRefused() {
    assertThatThrownBy(() -> OF_IDS.fromIds(new int[0], Mode.SELF))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no token ids");
    assertThatThrownBy(() -> OF_IDS.jointFromIds(new int[] {4, -7}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("text id 1 is negative: -7");
    assertThatThrownBy(() -> PromptBuilder.ofIds(new int[] {-1}, SELF_SUFFIX, NEXT_SUFFIX, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("prefix id 0");
    for (int pooled : new int[] {0, 3}) {
      assertThatThrownBy(() -> PromptBuilder.ofIds(PREFIX, SELF_SUFFIX, NEXT_SUFFIX, pooled))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("shorter suffix has 2");
    }
  }

  @Test
  void builderOfIdsTakesNoText() {
    assertThatThrownBy(() -> OF_IDS.build("text", Mode.SELF, 10))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("no tokenizer");
  }

  @Test
  void idsGivenAndReturnedAreCopies() {
    int[] suffix = {20, 21};
    PromptBuilder builder = PromptBuilder.ofIds(PREFIX, suffix, NEXT_SUFFIX, 1);

    suffix[0] = 99;
    builder.suffixIds(Mode.SELF)[0] = 99;

    assertThat(builder.suffixIds(Mode.SELF)).containsExactly(20, 21);
  }

  @Test
  void piecesAreTokenisedSeparatelyBehindBos() {
    PromptBuilder builder = PromptBuilder.create(PromptTemplate.PAPER, tokenizer);
    int[] text = tokenizer.encodeText("Once upon a time");

    Prompt prompt = builder.build("Once upon a time", Mode.SELF, 512);

    assertThat(prompt.prefixLength()).isEqualTo(1);
    assertThat(prompt.ids()[0]).isEqualTo(1);
    assertThat(prompt.textIds()).isEqualTo(text);
    assertThat(Arrays.copyOfRange(prompt.ids(), prompt.textEnd(), prompt.length() - 1))
        .isEqualTo(tokenizer.encodeText("The original sentence:"));
    assertThat(prompt.ids()[prompt.length() - 1]).isEqualTo(2);
    assertThat(prompt.pooledSelf()).isEqualTo(new TokenRange(prompt.length() - 1, prompt.length()));
    assertThat(builder.canJoin()).isTrue();
    assertThat(builder.buildJoint("Once upon a time", 512).pooledSelf())
        .isEqualTo(prompt.pooledSelf());
  }

  @Test
  void instructionTemplatesHaveAPrefixAModeAndCannotBeJoined() {
    PromptTemplate template =
        PromptTemplate.builder("repllama")
            .selfPrefix("passage:")
            .nextPrefix("query:")
            .eos()
            .build();
    PromptBuilder builder = PromptBuilder.create(template, tokenizer);

    Prompt query = builder.build("a red ball", Mode.NEXT, 512);

    assertThat(tokenizer.decode(query.ids())).isEqualTo("<s> query: a red ball</s>");
    assertThat(tokenizer.decode(builder.build("a ball", Mode.SELF, 512).ids()))
        .isEqualTo("<s> passage: a ball</s>");
    assertThat(query.pooledNext()).isEqualTo(new TokenRange(query.length() - 1, query.length()));
    assertThat(builder.canJoin()).isFalse();
    assertThatThrownBy(() -> builder.buildJoint("a red ball", 512))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("different prefixes");
    assertThatThrownBy(() -> builder.jointFromIds(new int[] {5}))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void bareLastTokenPoolingTakesTheLastTokenOfTheText() {
    PromptBuilder builder = PromptBuilder.create(PromptTemplate.builder("bare").build(), tokenizer);

    Prompt prompt = builder.build("a red ball", Mode.SELF, 512);

    assertThat(prompt.selfLength()).isZero();
    assertThat(prompt.pooledSelf()).isEqualTo(new TokenRange(prompt.length() - 1, prompt.length()));
    assertThat(builder.canJoin()).isFalse();
    assertThatThrownBy(() -> builder.buildJoint("a red ball", 512))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("no suffix");
  }

  @Test
  void absentMarkersAreAllNamed() {
    assertThatThrownBy(() -> PromptBuilder.create(PromptTemplate.LLAMA2VEC, tokenizer))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("tokenizer.json")
        .hasMessageContaining("<s1>, <s2>")
        .hasMessageContaining("<s16>")
        .hasMessageContaining("\"llama2vec\"");
  }

  @Test
  void missingTokensCanBeAskedForFirst() {
    assertThat(PromptBuilder.missingTokens(PromptTemplate.PAPER, tokenizer)).isEmpty();
    assertThat(PromptBuilder.missingTokens(PromptTemplate.LLAMA2VEC, tokenizer))
        .hasSize(16)
        .startsWith("<s1>")
        .endsWith("<s16>");
  }

  @Test
  void absentEosIsNamed(@TempDir Path dir) throws IOException {
    Files.copy(TestTokenizers.stories().resolve("tokenizer.json"), dir.resolve("tokenizer.json"));
    try (Tokenizer without = Tokenizer.load(dir)) {
      assertThatThrownBy(() -> PromptBuilder.create(PromptTemplate.PAPER, without))
          .isInstanceOf(ModelLoadException.class)
          .hasMessageContaining("eos_token");
    }
  }

  @Test
  void textsWithoutContentAreRefused() {
    PromptBuilder builder = PromptBuilder.create(PromptTemplate.PAPER, tokenizer);

    assertThatThrownBy(() -> builder.build("", Mode.SELF, 512))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("empty");
    for (String blank : new String[] {" ", "\n\t ", "\u3000"}) {
      assertThatThrownBy(() -> builder.build(blank, Mode.NEXT, 512))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("blank");
      assertThatThrownBy(() -> builder.buildJoint(blank, 512))
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(() -> builder.build("a\uD83E", Mode.SELF, 512))
        .isInstanceOf(TokenizationException.class);
  }

  @Test
  void textsOfAnyLengthFit() {
    PromptBuilder builder = PromptBuilder.create(PromptTemplate.PAPER, tokenizer);

    Prompt prompt = builder.build("a red ball ".repeat(10_000), Mode.SELF, 64);

    assertThat(prompt.length()).isLessThanOrEqualTo(64);
    assertThat(prompt.truncatedTokens()).isGreaterThan(10_000);
    assertThat(prompt.ids()[prompt.length() - 1]).isEqualTo(2);
  }

  @Test
  void aJoinedPrefixIsTokenisedWithTheText() {
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.stories())) {
      PromptBuilder joined =
          PromptBuilder.create(
              PromptTemplate.builder("j").nextPrefix("a red b").joined().build(), tokenizer);

      Prompt prompt = joined.build("ird", Mode.NEXT, 64);

      assertThat(prompt.textIds()).isEqualTo(tokenizer.encodeText("a red bird"));
      assertThat(prompt.prefixLength()).isOne();
      assertThat(joined.build("ird", Mode.SELF, 64).textIds())
          .isEqualTo(tokenizer.encodeText("ird"));
      assertThat(joined.canJoin()).isFalse();
    }
  }

  @Test
  void meansAreOverThePromptOrTheText() {
    try (Tokenizer tokenizer = Tokenizer.load(TestTokenizers.stories())) {
      for (Pooling pooling : List.of(Pooling.MEAN_OF_PROMPT, Pooling.MEAN_OF_TEXT)) {
        PromptBuilder builder =
            PromptBuilder.create(
                PromptTemplate.builder("m").prefix("a").eos().pooling(pooling).build(), tokenizer);

        Prompt prompt = builder.build("red bird", Mode.NEXT, 64);

        assertThat(prompt.pooled(Mode.SELF).isEmpty()).isTrue();
        assertThat(prompt.pooled(Mode.NEXT))
            .isEqualTo(
                pooling == Pooling.MEAN_OF_TEXT
                    ? new TokenRange(2, prompt.length() - 1)
                    : new TokenRange(0, prompt.length()));
        assertThat(builder.canJoin()).isFalse();
        assertThatThrownBy(() -> builder.buildJoint("red bird", 64))
            .isInstanceOf(IllegalStateException.class)
            .hasMessageContaining("pools no suffix");
      }
    }
  }
}
