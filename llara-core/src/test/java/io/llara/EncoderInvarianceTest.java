package io.llara;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.prompt.PromptTemplate;
import io.llara.testing.MarkedStories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A text has one embedding, whatever else is encoded beside it and however the encoder is set up.
 */
@Tag("slow")
class EncoderInvarianceTest {
  private static final List<String> TEXTS = Texts.random(24, 160, 11);

  @TempDir static Path dir;

  @BeforeAll
  static void write() {
    MarkedStories.write(dir);
  }

  private static EncoderBuilder builder(String template) {
    return Encoder.builder(dir).template(template).computeType(ComputeType.FLOAT32).threads(1);
  }

  /** Each text by itself. */
  private static Map<Mode, List<float[]>> alone(Encoder encoder) {
    Map<Mode, List<float[]>> embeddings = new EnumMap<>(Mode.class);
    for (Mode mode : Mode.values()) {
      embeddings.put(mode, TEXTS.stream().map(text -> encoder.encode(text, mode)).toList());
    }
    return embeddings;
  }

  @ParameterizedTest
  @ValueSource(strings = {"llara-paper", "llama2vec"})
  void batchesLanesAndLoadingDoNotMatter(String template) {
    Map<Mode, List<float[]>> expected;
    try (Encoder encoder = builder(template).build()) {
      expected = alone(encoder);
      check(encoder, expected);
    }
    for (EncoderBuilder other :
        List.of(
            builder(template).threads(4),
            builder(template).threads(3).batchTokens(1),
            builder(template).batchTokens(100).copyWeights(true),
            builder(template).threads(2).batchTokens(100_000))) {
      try (Encoder encoder = other.build()) {
        check(encoder, expected);
      }
    }
  }

  private static void check(Encoder encoder, Map<Mode, List<float[]>> expected) {
    for (Mode mode : Mode.values()) {
      Vectors.assertSame(encoder.encodeAll(TEXTS, mode), expected.get(mode));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llara-paper", "llama2vec"})
  void thePlaceInABatchDoesNotMatter(String template) {
    try (Encoder encoder = builder(template).threads(2).build()) {
      List<float[]> expected = encoder.encodeAll(TEXTS, Mode.NEXT);
      List<Integer> order = new ArrayList<>();
      for (int i = 0; i < TEXTS.size(); i++) {
        order.add(i);
      }
      Collections.shuffle(order, new Random(3));

      List<float[]> shuffled =
          encoder.encodeAll(order.stream().map(TEXTS::get).toList(), Mode.NEXT);

      Vectors.assertSame(shuffled, order.stream().map(expected::get).toList());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llara-paper", "llama2vec"})
  void bothAtOnceEqualTwoCalls(String template) {
    try (Encoder encoder = builder(template).threads(2).build()) {
      Map<Mode, List<float[]>> expected = alone(encoder);
      for (int i = 0; i < TEXTS.size(); i++) {
        EmbeddingPair both = encoder.encodeBoth(TEXTS.get(i));
        for (Mode mode : Mode.values()) {
          Vectors.assertSame(both.get(mode), expected.get(mode).get(i));
        }
      }
    }
  }

  @Test
  void bothAtOnceOfATemplateWithTwoPrefixesEqualTwoCalls() {
    PromptTemplate template =
        PromptTemplate.builder("repllama")
            .selfPrefix("passage:")
            .nextPrefix("query:")
            .eos()
            .build();
    try (Encoder encoder =
        Encoder.builder(dir).template(template).computeType(ComputeType.FLOAT32).build()) {
      assertThat(encoder.prompts().canJoin()).isFalse();
      EmbeddingPair both = encoder.encodeBoth(TEXTS.get(0));
      for (Mode mode : Mode.values()) {
        Vectors.assertSame(both.get(mode), encoder.encode(TEXTS.get(0), mode));
      }
    }
  }

  /** More texts than are started at once, so that two groups are under way. */
  @Test
  void manyTextsHaveTheSameVectorsToTheLastBitWhateverElseRuns() throws Exception {
    List<String> texts = Texts.random(4_200, 20, 5);
    try (Encoder encoder = builder("llama2vec").threads(3).batchTokens(500).build()) {
      List<float[]> expected = encoder.encodeAll(texts, Mode.SELF);

      AtomicBoolean done = new AtomicBoolean();
      Thread other =
          new Thread(
              () -> {
                while (!done.get()) {
                  encoder.encode(TEXTS.get(0), Mode.NEXT);
                }
              });
      other.start();
      List<float[]> again;
      try {
        again = encoder.encodeAll(texts, Mode.SELF);
      } finally {
        done.set(true);
        other.join();
      }

      assertThat(again.toArray(float[][]::new)).isDeepEqualTo(expected.toArray(float[][]::new));
    }
  }
}
