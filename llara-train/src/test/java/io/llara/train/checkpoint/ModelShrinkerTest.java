package io.llara.train.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.MarkedStories;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelShrinkerTest {
  private static final OptionalInt ALL = OptionalInt.empty();

  @TempDir private Path dir;

  private static float[] encode(Path model, String text, Mode mode) {
    try (Encoder encoder =
        Encoder.builder(model)
            // Without words of its own, which are spelled with more tokens too.
            .template(PromptTemplate.builder("bare").eos().build())
            .computeType(ComputeType.FLOAT32)
            .threads(1)
            .build()) {
      return encoder.encode(text, mode);
    }
  }

  @Test
  void theLayersAskedForStayInOrder() {
    ModelShrinker.write(Stories.dir(), dir, List.of(0, 2, 4), ALL);
    CheckpointDirectory small = CheckpointDirectory.open(dir);
    assertThat(small.config().layers()).isEqualTo(3);
    assertThat(TestModels.floats(small, "layers.1.mlp.up_proj.weight"))
        .isEqualTo(
            TestModels.floats(
                CheckpointDirectory.open(Stories.dir()), "layers.2.mlp.up_proj.weight"));
  }

  /** With markers, which stand at the end of the vocabulary and move. */
  @Test
  void aTextThatIsSpelledAsBeforeHasTheSameVector() {
    Path marked = MarkedStories.write(dir.resolve("marked"));
    Path small = dir.resolve("small");
    ModelShrinker.write(marked, small, List.of(), OptionalInt.of(400));
    String text = "he was in the";
    try (Tokenizer before = Tokenizer.load(marked);
        Tokenizer after = Tokenizer.load(small)) {
      assertThat(after.vocabularySize()).isEqualTo(400);
      assertThat(after.tokenId("<s16>")).hasValue(399);
      assertThat(pieces(after, text)).isEqualTo(pieces(before, text));
    }
    for (Mode mode : Mode.values()) {
      Vectors.assertSame(encode(small, text, mode), encode(marked, text, mode));
    }
  }

  private static List<String> pieces(Tokenizer tokenizer, String text) {
    return Arrays.stream(tokenizer.encodeText(text)).mapToObj(tokenizer::token).toList();
  }

  @Test
  void rarerWordsAreSpelledWithMoreTokens() {
    ModelShrinker.write(Stories.dir(), dir, List.of(), OptionalInt.of(350));
    try (Tokenizer before = Tokenizer.load(Stories.dir());
        Tokenizer after = Tokenizer.load(dir)) {
      String text = "The little girl wanted to play with her friends.";
      assertThat(after.encodeText(text).length).isGreaterThan(before.encodeText(text).length);
      assertThat(after.decode(after.encodeText(text))).isEqualTo(text);
    }
  }

  @Test
  void whatIsNotThereIsRefused() {
    Path out = dir.resolve("out");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ModelShrinker.write(Stories.dir(), out, List.of(0, 5), ALL))
        .withMessageContaining("ascending numbers from 0 to 4");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ModelShrinker.write(Stories.dir(), out, List.of(2, 2), ALL));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ModelShrinker.write(Stories.dir(), out, List.of(), OptionalInt.of(512)))
        .withMessageContaining("expected fewer than the 512 it has");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> ModelShrinker.write(Stories.dir(), out, List.of(), OptionalInt.of(20)));
    assertThat(out).doesNotExist();
  }
}
