package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatNullPointerException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.JsonPrimitive;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.Leaks;
import io.llara.testing.MarkedStories;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.assertj.core.api.AbstractThrowableAssert;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is wrong is refused in words that say what and where; nothing leaks. */
class EncoderBadInputTest {
  private static final int HIDDEN = 64;

  private static EncoderBuilder builder(Path dir) {
    return Encoder.builder(dir)
        .template(PromptTemplate.PAPER)
        .computeType(ComputeType.FLOAT32)
        .threads(2);
  }

  @Nested
  class Checkpoints {
    @TempDir Path dir;

    private AbstractThrowableAssert<?, ? extends Throwable> refusal() throws Throwable {
      Leaks.assertNone(
          () -> assertThatThrownBy(() -> builder(dir).build()).isInstanceOf(LlaraException.class));
      return assertThatThrownBy(() -> builder(dir).build());
    }

    @Test
    void aMissingDirectoryIsNamed() {
      assertThatThrownBy(() -> Encoder.load(dir.resolve("nowhere")))
          .isInstanceOf(ModelLoadException.class)
          .hasMessageContainingAll("nowhere", "does not exist");
    }

    @ParameterizedTest
    @ValueSource(strings = {"config.json", "tokenizer.json", "model.safetensors"})
    void aMissingFileIsNamed(String file) throws Throwable {
      Directories.copy(Stories.dir(), dir);
      Files.delete(dir.resolve(file));

      refusal().isInstanceOf(ModelLoadException.class).hasMessageContaining(file);
    }

    @ParameterizedTest
    @ValueSource(strings = {"config.json", "tokenizer.json", "model.safetensors"})
    void aTruncatedFileIsNamed(String file) throws Throwable {
      Directories.copy(Stories.dir(), dir);
      byte[] bytes = Files.readAllBytes(dir.resolve(file));
      Files.write(dir.resolve(file), Arrays.copyOf(bytes, bytes.length / 2));

      refusal().isInstanceOf(ModelLoadException.class).hasMessageContaining(file);
    }

    @Test
    void aWrongShapeIsNamed() throws Throwable {
      Directories.copy(Stories.dir(), dir);
      MarkedStories.changeWeights(
          dir,
          entry ->
              entry.name().endsWith("layers.2.mlp.up_proj.weight")
                  ? Arrays.copyOf(entry.readFloats(), 171 * HIDDEN)
                  : entry.readFloats());

      refusal()
          .isInstanceOf(ModelLoadException.class)
          .hasMessageContainingAll("layers.2.mlp.up_proj.weight", "[171, 64]", "[172, 64]");
    }

    @Test
    void aMissingTensorIsNamed() throws Throwable {
      Directories.copy(Stories.dir(), dir);
      MarkedStories.changeJson(
          dir.resolve("config.json"), config -> config.addProperty("num_hidden_layers", 6));

      refusal()
          .isInstanceOf(ModelLoadException.class)
          .hasMessageContainingAll("layers.5.input_layernorm.weight", "missing");
    }

    @Test
    void anotherArchitectureIsNamedWithWhatIsSupported() throws Throwable {
      Directories.copy(Stories.dir(), dir);
      MarkedStories.changeJson(
          dir.resolve("config.json"),
          config ->
              config.getAsJsonArray("architectures").set(0, new JsonPrimitive("GPT2LMHeadModel")));

      refusal()
          .isInstanceOf(UnsupportedModelException.class)
          .hasMessageContainingAll("GPT2LMHeadModel", "LlamaForCausalLM");
    }

    @Test
    void aVocabularySmallerThanTheTokenizersIdsIsRefused() throws Throwable {
      Directories.copy(Stories.dir(), dir);
      MarkedStories.changeJson(
          dir.resolve("config.json"), config -> config.addProperty("vocab_size", 500));
      MarkedStories.changeWeights(
          dir,
          entry ->
              MarkedStories.isEmbedding(entry)
                  ? Arrays.copyOf(entry.readFloats(), 500 * HIDDEN)
                  : entry.readFloats());

      refusal().isInstanceOf(ModelLoadException.class).hasMessageContainingAll("511", "499");
    }

    @Test
    void aSlidingWindowShorterThanThePromptIsRefused() {
      Directories.copy(Stories.dir(), dir);
      MarkedStories.changeJson(
          dir.resolve("config.json"), config -> config.addProperty("sliding_window", 100));

      assertThatThrownBy(() -> builder(dir).maxTokens(101).build())
          .isInstanceOf(UnsupportedModelException.class)
          .hasMessageContainingAll("101", "window", "100");
      try (Encoder encoder = builder(dir).build()) {
        assertThat(encoder.maxTokens()).isEqualTo(100);
      }
    }

    @ParameterizedTest
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
    void embeddingsOfWeightsThatAreNoNumbersAreRefused(float bad) throws Throwable {
      Directories.copy(Stories.dir(), dir);
      spoil("layers.3.mlp.down_proj.weight", bad);
      for (boolean normalize : new boolean[] {true, false}) {
        try (Encoder encoder = builder(dir).normalize(normalize).build()) {
          Leaks.assertNone(
              () -> {
                assertNotFinite(() -> encoder.encode("a dog", Mode.SELF));
                assertNotFinite(() -> encoder.encodeBoth("a dog"));
                assertThatThrownBy(() -> encoder.encodeAll(List.of("a dog", "a cat"), Mode.NEXT))
                    .isInstanceOf(LlaraException.class)
                    .hasMessageContainingAll("text 0", "not finite");
              });
        }
      }
    }

    @Test
    void anEmbeddingWithoutDirectionIsRefused() {
      Directories.copy(Stories.dir(), dir);
      MarkedStories.changeWeights(
          dir,
          entry ->
              entry.name().endsWith("model.norm.weight") || entry.name().equals("norm.weight")
                  ? new float[HIDDEN]
                  : entry.readFloats());
      try (Encoder encoder = builder(dir).build();
          Encoder raw = builder(dir).normalize(false).build()) {
        assertThatThrownBy(() -> encoder.encode("a dog", Mode.SELF))
            .isInstanceOf(LlaraException.class)
            .hasMessageContaining("zero");
        assertThat(Vectors.length(raw.encode("a dog", Mode.SELF))).isZero();
      }
    }

    private void spoil(String tensor, float value) {
      MarkedStories.changeWeights(
          dir,
          entry -> {
            float[] values = entry.readFloats();
            if (entry.name().endsWith(tensor)) {
              values[5] = value;
            }
            return values;
          });
    }

    private static void assertNotFinite(ThrowingCallable call) {
      assertThatThrownBy(call)
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("not finite");
    }
  }

  @Nested
  class Inputs {

    @Test
    void textsWithoutContentAreRefused() throws Throwable {
      try (Encoder encoder = builder(Stories.dir()).build()) {
        Leaks.assertNone(
            () -> {
              for (String text : List.of("", " ", "\n\t \u2003")) {
                String word = text.isEmpty() ? "empty" : "blank";
                for (Mode mode : Mode.values()) {
                  assertThatIllegalArgumentException()
                      .isThrownBy(() -> encoder.encode(text, mode))
                      .withMessageContaining(word);
                }
                assertThatIllegalArgumentException()
                    .isThrownBy(() -> encoder.encodeBoth(text))
                    .withMessageContaining(word);
              }
            });
      }
    }

    @Test
    void halvesOfSurrogatePairsAreRefused() {
      try (Encoder encoder = builder(Stories.dir()).build()) {
        for (String text : List.of("\ud83e", "a \udd99 b", "\udd99\ud83e", "x\ud83e")) {
          assertThatThrownBy(() -> encoder.encode(text, Mode.SELF))
              .isInstanceOf(TokenizationException.class)
              .hasMessageContaining("surrogate");
        }
        Vectors.assertUnit(encoder.encode("\ud83e\udd99", Mode.SELF));
      }
    }

    @Test
    void whatIsNullIsNamed() {
      try (Encoder encoder = builder(Stories.dir()).build()) {
        assertThatNullPointerException()
            .isThrownBy(() -> encoder.encode(null, Mode.SELF))
            .withMessage("text");
        assertThatNullPointerException()
            .isThrownBy(() -> encoder.encode("a dog", null))
            .withMessage("mode");
        assertThatNullPointerException()
            .isThrownBy(
                () ->
                    encoder.encodePrompt(encoder.prompts().fromIds(new int[] {7}, Mode.NEXT), null))
            .withMessage("mode");
        assertThatIllegalArgumentException()
            .isThrownBy(() -> encoder.encodeAll(Arrays.asList("a dog", null), Mode.SELF))
            .withMessageContainingAll("text 1", "null");
      }
    }

    @Test
    void longTextsAreRefusedIfTheEncoderIsToldTo() throws Throwable {
      try (Encoder encoder =
          builder(Stories.dir()).maxTokens(60).onOverflow(Overflow.REFUSE).build()) {
        Leaks.assertNone(
            () -> {
              assertThatThrownBy(() -> encoder.encode("dog ".repeat(99), Mode.SELF))
                  .isInstanceOf(TokenizationException.class)
                  .hasMessageContainingAll("tokens", "60");
              assertThatThrownBy(() -> encoder.encodeBoth("dog ".repeat(99)))
                  .isInstanceOf(TokenizationException.class);
              assertThatThrownBy(
                      () -> encoder.encodeAll(List.of("dog", "dog ".repeat(99)), Mode.SELF))
                  .isInstanceOf(TokenizationException.class)
                  .hasMessageContaining("text 1");
            });
        Vectors.assertUnit(encoder.encode("dog", Mode.SELF));
        assertThat(encoder.statistics().truncatedTexts()).isZero();
      }
    }

    @Test
    void promptsThatDoNotFitTheModelAreRefused() {
      try (Encoder encoder = builder(Stories.dir()).maxTokens(60).build()) {
        assertThatIllegalArgumentException()
            .isThrownBy(
                () ->
                    encoder.encodePrompt(
                        encoder.prompts().fromIds(new int[60], Mode.SELF), Mode.SELF))
            .withMessageContaining("60");
        assertThatIllegalArgumentException()
            .isThrownBy(
                () ->
                    encoder.encodePrompt(
                        encoder.prompts().fromIds(new int[] {512}, Mode.SELF), Mode.SELF))
            .withMessageContaining("512");
        assertThatIllegalArgumentException()
            .isThrownBy(
                () ->
                    encoder.encodePrompt(
                        encoder.prompts().fromIds(new int[] {7}, Mode.SELF), Mode.NEXT))
            .withMessageContaining("NEXT");
      }
    }
  }

  @Nested
  class Options {

    @Test
    void allThatIsWrongIsNamedAtOnce() {
      assertThatIllegalArgumentException()
          .isThrownBy(
              () ->
                  Encoder.builder(Stories.dir())
                      .maxTokens(0)
                      .batchTokens(-1)
                      .threads(Integer.MIN_VALUE)
                      .dimension(-3)
                      .template("llama3vec")
                      .build())
          .withMessageContainingAll(
              "maxTokens is 0",
              "batchTokens is -1",
              "threads is -2147483648",
              "dimension is -3",
              "llama3vec",
              "llama2vec, llara-paper");
    }

    @Test
    void theyAreCheckedBeforeAnyFileIsRead() {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> Encoder.builder(Path.of("nowhere")).threads(0).build())
          .withMessageContaining("threads is 0");
    }

    @Test
    void moreDimensionsThanThereAreAreRefused() throws Throwable {
      Leaks.assertNone(
          () ->
              assertThatIllegalArgumentException()
                  .isThrownBy(() -> builder(Stories.dir()).dimension(65).build())
                  .withMessageContainingAll("65", "64"));
    }

    @Test
    void morePositionsThanThereAreAreRefused() {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> builder(Stories.dir()).maxTokens(513).build())
          .withMessageContainingAll("513", "512");
    }

    @Test
    void aLengthThatLeavesNoRoomForTextIsRefused() throws Throwable {
      Leaks.assertNone(
          () ->
              assertThatIllegalArgumentException()
                  .isThrownBy(() -> builder(Stories.dir()).maxTokens(3).build())
                  .withMessageContainingAll("maxTokens is 3", "llara-paper"));
    }

    @Test
    void theLeastLengthThatIsNamedWorks() {
      try (Encoder wide = builder(Stories.dir()).build();
          Encoder least =
              builder(Stories.dir()).maxTokens(wide.prompts().minimumTokens()).build()) {
        Vectors.assertUnit(least.encode("once upon a time", Mode.SELF));
        assertThat(least.encodeBoth("once upon a time").self()).hasSize(64);
      }
    }
  }
}
