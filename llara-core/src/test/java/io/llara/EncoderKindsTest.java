package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.MarkedStories;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Queries and passages in the modes, and cut to the lengths, that a model was trained with. */
class EncoderKindsTest {
  private static final String TEXT = "Once upon a time there was a little girl. ".repeat(20);

  @TempDir Path dir;

  @BeforeEach
  void prepare() {
    MarkedStories.write(dir);
  }

  private void trainedWith(int query, int passage, TextModes modes) {
    new LlaraJson(
            PromptTemplate.LLAMA2VEC, true, OptionalInt.of(query), OptionalInt.of(passage), modes)
        .write(dir);
  }

  private Encoder open(UnaryOperator<EncoderBuilder> settings) {
    return settings.apply(Encoder.builder(dir).computeType(ComputeType.FLOAT32).threads(1)).build();
  }

  /** The embedding of a prompt of exactly so many tokens. */
  private static float[] cut(Encoder encoder, Mode mode, int tokens) {
    return encoder.encodePrompt(encoder.prompts().build(TEXT, mode, tokens), mode);
  }

  @Test
  void theModelSaysModesAndLengths() {
    trainedWith(60, 90, TextModes.N2S);
    try (Encoder encoder = open(builder -> builder)) {
      assertThat(encoder.modes()).isEqualTo(TextModes.N2S);
      assertThat(encoder.maxTokens()).isEqualTo(90);
      float[] query = cut(encoder, Mode.NEXT, 60);
      float[] passage = cut(encoder, Mode.SELF, 90);
      assertThat(Similarity.cosine(query, cut(encoder, Mode.NEXT, 90))).isLessThan(0.999);
      assertThat(encoder.encodeQuery(TEXT)).isEqualTo(query);
      assertThat(encoder.encodePassage(TEXT)).isEqualTo(passage);
      // Each mode is for one kind of texts.
      assertThat(encoder.encode(TEXT, Mode.NEXT)).isEqualTo(query);
      assertThat(encoder.encode(TEXT, Mode.SELF)).isEqualTo(passage);
      assertThat(encoder.encodeAll(List.of(TEXT), Mode.NEXT).get(0)).isEqualTo(query);
      assertThat(encoder.forQueries().maxTokens()).isEqualTo(60);
      assertThat(encoder.forPassages().maxTokens()).isEqualTo(90);
    }
  }

  @Test
  void bothKindsMayHaveOneMode() {
    trainedWith(60, 90, TextModes.S2S);
    try (Encoder encoder = open(builder -> builder)) {
      float[] query = cut(encoder, Mode.SELF, 60);
      float[] passage = cut(encoder, Mode.SELF, 90);
      assertThat(encoder.encodeQuery(TEXT)).isEqualTo(query);
      assertThat(encoder.encodePassage(TEXT)).isEqualTo(passage);
      assertThat(encoder.encode(TEXT, Mode.SELF)).isEqualTo(passage);
      try (Encoder queries = encoder.forQueries()) {
        assertThat(queries.encodeAll(List.of(TEXT), Mode.SELF).get(0)).isEqualTo(query);
      }
      // That was a view of it.
      assertThat(encoder.encodeQuery(TEXT)).isEqualTo(query);
      assertThat(encoder.statistics().texts()).isEqualTo(5);
      assertThat(encoder.statistics().truncatedTexts()).isEqualTo(5);
    }
  }

  @Test
  void settingsComeBeforeTheModel() {
    trainedWith(60, 90, TextModes.S2S);
    try (Encoder encoder =
        open(builder -> builder.modes(TextModes.N2N).queryMaxTokens(70).passageMaxTokens(80))) {
      assertThat(encoder.encodeQuery(TEXT)).isEqualTo(cut(encoder, Mode.NEXT, 70));
      assertThat(encoder.encodePassage(TEXT)).isEqualTo(cut(encoder, Mode.NEXT, 80));
    }
    try (Encoder encoder = open(builder -> builder.maxTokens(95).queryMaxTokens(55))) {
      assertThat(encoder.encodeQuery(TEXT)).isEqualTo(cut(encoder, Mode.SELF, 55));
      assertThat(encoder.encodePassage(TEXT)).isEqualTo(cut(encoder, Mode.SELF, 95));
    }
  }

  @Test
  void aModelThatSaysNothingHasTheUsualOnes() {
    try (Encoder encoder = open(builder -> builder)) {
      assertThat(encoder.modes()).isEqualTo(TextModes.N2S);
      assertThat(encoder.forQueries().maxTokens()).isEqualTo(encoder.maxTokens());
      assertThat(encoder.forPassages().maxTokens()).isEqualTo(encoder.maxTokens());
    }
  }

  @Test
  void lengthsOutOfRangeAreNamed() {
    assertThatThrownBy(() -> open(builder -> builder.queryMaxTokens(0).passageMaxTokens(-1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContainingAll("queryMaxTokens is 0", "passageMaxTokens is -1");
    assertThatThrownBy(() -> open(builder -> builder.passageMaxTokens(100_000)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("passageMaxTokens is 100000; the model was made for");
    assertThatThrownBy(() -> open(builder -> builder.queryMaxTokens(10)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("queryMaxTokens is 10; the template llama2vec alone needs");
  }
}
