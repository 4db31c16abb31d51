package org.example;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.ComputeType;
import io.llara.EmbeddingPair;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.prompt.Prompt;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What a test of a user's own code, outside of this library's packages, needs of a fake. */
class FakeEncoderTest {

  /** An encoder of two methods. */
  private static final class Fake implements Encoder {
    @Override
    public float[] encode(String text, Mode mode) {
      if (text.isBlank()) {
        throw new IllegalArgumentException("the text is blank");
      }
      return new float[] {text.length(), mode.ordinal()};
    }

    @Override
    public int dimension() {
      return 2;
    }
  }

  @Test
  void allWaysToEncodeATextEndInEncode() throws Exception {
    try (Encoder encoder = new Fake()) {
      assertThat(encoder.encodeQuery("abc")).containsExactly(3, 1);
      assertThat(encoder.encodePassage("abc")).containsExactly(3, 0);
      assertThat(encoder.encodeBoth("abc"))
          .isEqualTo(new EmbeddingPair(new float[] {3, 0}, new float[] {3, 1}));
      assertThat(encoder.encodeAsync("abc", Mode.NEXT).get()).containsExactly(3, 1);
    }
  }

  @Test
  void manyTextsKeepTheirOrder() throws Exception {
    try (Encoder encoder = new Fake()) {
      List<String> texts = List.of("a", "bb", "ccc");
      List<String> received = new ArrayList<>();
      encoder.encodeAll(
          Stream.of("a", "bb", "ccc"),
          Mode.SELF,
          (index, text, embedding) -> received.add(index + text + (int) embedding[0]));

      assertThat(received).containsExactly("0a1", "1bb2", "2ccc3");
      assertThat(encoder.encodeAll(texts, Mode.SELF))
          .extracting(v -> v[0])
          .containsExactly(1f, 2f, 3f);
      assertThat(encoder.encodeAllAsync(texts, Mode.NEXT).get())
          .extracting(v -> v[1])
          .containsExactly(1f, 1f, 1f);
      assertThat(encoder.encodeAndCount(texts, Mode.NEXT).embeddings()).hasSize(3);
      assertThat(encoder.encodeAndCount(texts, Mode.NEXT).tokens()).isEmpty();
    }
  }

  @Test
  void errorsComeThroughTheFuture() {
    try (Encoder encoder = new Fake()) {
      assertThatExceptionOfType(ExecutionException.class)
          .isThrownBy(() -> encoder.encodeAsync(" ", Mode.SELF).get())
          .withCauseInstanceOf(IllegalArgumentException.class);
      assertThatExceptionOfType(ExecutionException.class)
          .isThrownBy(() -> encoder.encodeAllAsync(List.of("a", " "), Mode.SELF).get())
          .withCauseInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void describesItselfAsPlainlyAsCanBe() {
    try (Encoder encoder = new Fake()) {
      assertThat(encoder.normalizes()).isTrue();
      assertThat(encoder.maxTokens()).isEqualTo(Integer.MAX_VALUE);
      assertThat(encoder.computeType()).isEqualTo(ComputeType.FLOAT32);
      assertThat(encoder.lanes()).isEqualTo(1);
      assertThat(encoder.statistics().texts()).isZero();
      assertThat(encoder.template().self().suffix()).isEmpty();
    }
  }

  @Test
  void saysThatItHasNoTokens() {
    try (Encoder encoder = new Fake()) {
      Prompt prompt = Prompt.plain(new int[] {1});
      assertThatThrownBy(encoder::prompts).isInstanceOf(UnsupportedOperationException.class);
      assertThatThrownBy(() -> encoder.countTokens("abc", Mode.SELF))
          .isInstanceOf(UnsupportedOperationException.class)
          .hasMessageContaining("tokenizer");
      assertThatThrownBy(() -> encoder.encodePrompt(prompt, Mode.SELF))
          .isInstanceOf(UnsupportedOperationException.class);
      assertThatThrownBy(() -> encoder.encodePrompts(List.of(prompt), Mode.SELF))
          .isInstanceOf(UnsupportedOperationException.class);
    }
  }
}
