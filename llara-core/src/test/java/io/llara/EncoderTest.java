package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.llara.prompt.Prompt;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class EncoderTest {
  private static final String TEXT = "Once upon a time there was a llama.";
  private static Encoder encoder;

  @BeforeAll
  static void open() {
    encoder = builder().build();
  }

  @AfterAll
  static void close() {
    encoder.close();
  }

  private static EncoderBuilder builder() {
    return Encoder.builder(Stories.dir())
        .template(PromptTemplate.PAPER)
        .computeType(ComputeType.FLOAT32)
        .threads(2);
  }

  @Test
  void embeddingsAreUnitVectorsOfTheHiddenSize() {
    assertThat(encoder.dimension()).isEqualTo(64);
    for (Mode mode : Mode.values()) {
      float[] embedding = encoder.encode(TEXT, mode);
      assertThat(embedding).hasSize(64);
      Vectors.assertUnit(embedding);
    }
  }

  @Test
  void modesDiffer() {
    assertThat(Similarity.cosine(encoder.encode(TEXT, Mode.SELF), encoder.encode(TEXT, Mode.NEXT)))
        .isLessThan(0.999);
  }

  @Test
  void queriesAreNextAndPassagesAreSelf() {
    Vectors.assertSame(encoder.encodeQuery(TEXT), encoder.encode(TEXT, Mode.NEXT));
    Vectors.assertSame(encoder.encodePassage(TEXT), encoder.encode(TEXT, Mode.SELF));
  }

  @Test
  void aPromptOfIdsEncodesAsItsText() {
    Vectors.assertSame(
        encoder.encodePrompt(encoder.prompts().build(TEXT, Mode.SELF, 512), Mode.SELF),
        encoder.encode(TEXT, Mode.SELF));
  }

  @Test
  void promptsOfIdsEncodeAsTheirTexts() {
    List<String> texts = Texts.random(30, 40, 4);
    List<Prompt> prompts =
        texts.stream().map(text -> encoder.prompts().build(text, Mode.NEXT, 512)).toList();

    Vectors.assertSame(
        encoder.encodePrompts(prompts, Mode.NEXT), encoder.encodeAll(texts, Mode.NEXT));
    assertThat(encoder.encodePrompts(List.of(), Mode.SELF)).isEmpty();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> encoder.encodePrompts(prompts, Mode.SELF))
        .withMessageContaining("SELF");
  }

  @Test
  void tokensAreCountedBeforeAnyCut() {
    try (Encoder narrow = builder().maxTokens(60).build()) {
      String longText = "dog ".repeat(200);
      int whole = narrow.prompts().build(longText, Mode.SELF, 512).length();

      assertThat(whole).isGreaterThan(200);
      assertThat(narrow.countTokens(longText, Mode.SELF)).isEqualTo(whole);
      assertThat(narrow.countTokens("dog", Mode.NEXT))
          .isEqualTo(narrow.prompts().build("dog", Mode.NEXT, 60).length());
      assertThatIllegalArgumentException().isThrownBy(() -> narrow.countTokens(" ", Mode.NEXT));
      assertThat(narrow.statistics().texts()).isZero();
    }
  }

  @Test
  void countsTokensAsTheyRan() {
    try (Encoder narrow = builder().maxTokens(60).build()) {
      List<String> texts = List.of("dog", "dog ".repeat(200));
      EncodedTexts encoded = narrow.encodeAndCount(texts, Mode.SELF);
      assertThat(encoded.tokens()).hasValue(narrow.countTokens("dog", Mode.SELF) + 60);
      assertThat(encoded.embeddings())
          .containsExactlyElementsOf(narrow.encodeAll(texts, Mode.SELF));
    }
  }

  @Test
  void reportsWhatEncodingTook() throws Exception {
    List<EncoderListener.Event> events = new ArrayList<>();
    try (Encoder observed = builder().maxTokens(60).listener(events::add).build()) {
      observed.encode(TEXT, Mode.SELF);
      observed.encodeBoth(TEXT);
      observed.encodePrompt(observed.prompts().fromIds(new int[] {7}, Mode.SELF), Mode.SELF);
      observed.encodeAll(List.of("dog", "dog ".repeat(200), TEXT), Mode.SELF);
      observed.encodeAll(List.of(), Mode.SELF);
      observed.encodeAsync(TEXT, Mode.NEXT).get();
      observed.encodeAllAsync(List.of(TEXT, TEXT), Mode.NEXT).get();

      assertThat(events).extracting(EncoderListener.Event::texts).containsExactly(1, 1, 1, 3, 1, 2);
      assertThat(events)
          .extracting(EncoderListener.Event::truncatedTexts)
          .containsExactly(0, 0, 0, 1, 0, 0);
      assertThat(events.get(0).tokens()).isEqualTo(observed.countTokens(TEXT, Mode.SELF));
      assertThat(events.get(2).tokenize()).isZero();
      for (EncoderListener.Event event : events) {
        assertThat(event.tokenize().isNegative() || event.queue().isNegative()).isFalse();
        assertThat(event.compute()).isPositive();
        assertThat(event.tokenize().plus(event.queue()).plus(event.compute()))
            .isLessThan(Duration.ofMinutes(1));
      }
    }
  }

  @Test
  void loadTakesTheDefaults() {
    try (Encoder loaded = Encoder.load(Stories.dir())) {
      assertThat(loaded.maxTokens()).isEqualTo(512);
      assertThat(loaded.lanes()).isEqualTo(Runtime.getRuntime().availableProcessors());
      assertThat(loaded.template()).isEqualTo(PromptTemplate.PAPER);
      assertThat(loaded.computeType()).isNotEqualTo(ComputeType.AUTO);
      // Automatic may be bfloat16.
      assertThat(Similarity.cosine(loaded.encodePassage(TEXT), encoder.encodePassage(TEXT)))
          .isGreaterThan(0.995);
    }
  }

  @Test
  void withoutNormalisationTheDirectionStays() {
    try (Encoder raw = builder().normalize(false).build()) {
      float[] vector = raw.encode(TEXT, Mode.SELF);

      assertThat(raw.normalizes()).isFalse();
      assertThat(encoder.normalizes()).isTrue();
      assertThat(Vectors.length(vector)).isGreaterThan(1.5);
      assertThat(Similarity.cosine(vector, encoder.encode(TEXT, Mode.SELF)))
          .isCloseTo(1, within(1e-6));
    }
  }

  @Test
  void aSmallerDimensionIsCutAndNormalisedAgain() {
    try (Encoder small = builder().dimension(10).build()) {
      float[] embedding = small.encode(TEXT, Mode.NEXT);

      assertThat(small.dimension()).isEqualTo(10);
      assertThat(embedding).hasSize(10);
      Vectors.assertUnit(embedding);
      float[] head = Arrays.copyOf(encoder.encode(TEXT, Mode.NEXT), 10);
      assertThat(Similarity.cosine(embedding, head)).isCloseTo(1, within(1e-6));
    }
  }

  @Test
  void bfloat16IsNearFloat32() {
    try (Encoder half = builder().computeType(ComputeType.BFLOAT16).build()) {
      assertThat(half.computeType()).isEqualTo(ComputeType.BFLOAT16);
      List<String> texts = Texts.random(20, 40, 7);
      List<float[]> exact = encoder.encodeAll(texts, Mode.SELF);
      List<float[]> rounded = half.encodeAll(texts, Mode.SELF);
      for (int i = 0; i < texts.size(); i++) {
        Vectors.assertUnit(rounded.get(i));
        // The rule for golden files: rounding alone costs up to 0.002 in small models.
        assertThat(Similarity.cosine(exact.get(i), rounded.get(i))).isGreaterThanOrEqualTo(0.995);
      }
    }
  }

  @Test
  void textsThatSpellTokensAreText() {
    float[] spelled = encoder.encode("a </s> b", Mode.SELF);

    assertThat(encoder.prompts().build("a </s> b", Mode.SELF, 512).textIds()).doesNotContain(2);
    Vectors.assertUnit(spelled);
  }

  @Test
  void countsWhatItDoes() {
    try (Encoder fresh = builder().maxTokens(60).build()) {
      assertThat(fresh.statistics()).isEqualTo(new EncoderStatistics(0, 0, 0, 0));
      int shortLength = fresh.prompts().build("dog", Mode.SELF, 60).length();
      String longText = "dog ".repeat(200);
      int cut = fresh.prompts().build(longText, Mode.SELF, 60).truncatedTokens();

      fresh.encode("dog", Mode.SELF);
      fresh.encodeAll(List.of("dog", longText), Mode.SELF);

      EncoderStatistics statistics = fresh.statistics();
      assertThat(statistics.texts()).isEqualTo(3);
      assertThat(statistics.truncatedTexts()).isEqualTo(1);
      assertThat(statistics.truncatedTokens()).isEqualTo(cut).isPositive();
      assertThat(statistics.tokens()).isBetween(2L * shortLength + 50, 2L * shortLength + 60);
    }
  }

  @Test
  void aTextThatIsCutEqualsItsBeginning() {
    String text = "dog ".repeat(99);
    try (Encoder narrow = builder().maxTokens(60).build()) {
      int[] kept = narrow.prompts().build(text, Mode.SELF, 60).textIds();
      for (Mode mode : Mode.values()) {
        Vectors.assertSame(
            narrow.encode(text, mode),
            narrow.encodePrompt(narrow.prompts().fromIds(kept, mode), mode));
        Vectors.assertSame(narrow.encodeBoth(text).get(mode), narrow.encode(text, mode));
      }
    }
  }

  @Test
  void blankTextsAreRefusedSkippedOrZero() {
    List<String> texts = List.of("Llamas hum.", "", "Salt is heavy.", " \t", " ");
    List<float[]> expected = encoder.encodeAll(List.of(texts.get(0), texts.get(2)), Mode.SELF);
    Map<Long, float[]> found = new LinkedHashMap<>();
    EmbeddingSink sink =
        (index, text, embedding) -> {
          assertThat(text).isEqualTo(texts.get((int) index));
          found.put(index, embedding);
        };

    assertThat(encoder.encodeAll(texts.stream(), Mode.SELF, BlankTexts.SKIP, sink)).isEqualTo(3);
    assertThat(found.keySet()).containsExactly(0L, 2L);
    assertThat(found.get(0L)).containsExactly(expected.get(0), within(1e-5f));
    assertThat(found.get(2L)).containsExactly(expected.get(1), within(1e-5f));

    found.clear();
    assertThat(encoder.encodeAll(texts.stream(), Mode.SELF, BlankTexts.ZERO, sink)).isEqualTo(3);
    assertThat(found.keySet()).containsExactly(0L, 1L, 2L, 3L, 4L);
    assertThat(found.get(4L)).containsExactly(new float[encoder.dimension()]);
    assertThat(found.get(2L)).containsExactly(expected.get(1), within(1e-5f));

    assertThatIllegalArgumentException()
        .isThrownBy(() -> encoder.encodeAll(texts.stream(), Mode.SELF, BlankTexts.REFUSE, sink))
        .withMessage("text 1: the text is empty");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> encoder.encodeAll(texts.stream(), Mode.SELF, sink))
        .withMessage("text 1: the text is empty");
  }

  @Test
  void nothingGivesNothing() {
    assertThat(encoder.encodeAll(List.of(), Mode.SELF)).isEmpty();
  }

  @Test
  void resultsAreTheCallersOwn() {
    float[] first = encoder.encode(TEXT, Mode.SELF);
    Arrays.fill(first, 7);

    Vectors.assertUnit(encoder.encode(TEXT, Mode.SELF));
  }
}
