package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatNullPointerException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.llara.prompt.PromptTemplate;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Futures of embeddings: their results, errors and threads, and what a cancelled one leaves. */
@Timeout(60)
class EncoderAsyncTest {
  private Encoder encoder;

  @BeforeEach
  void open() {
    encoder =
        Encoder.builder(Stories.dir())
            .template(PromptTemplate.PAPER)
            .computeType(ComputeType.FLOAT32)
            .threads(2)
            .build();
  }

  @AfterEach
  void close() {
    encoder.close();
  }

  @Test
  void twoThousandCallersThatWaitGetTheVectorsOfSerialCalls() throws Exception {
    List<String> texts = Texts.random(2_000, 10, 6);
    List<CompletableFuture<float[]>> futures = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      futures.add(encoder.encodeAsync(texts.get(i), Mode.values()[i % 2]));
    }
    for (int i = 0; i < texts.size(); i += 7) {
      Vectors.assertSame(futures.get(i).get(), encoder.encode(texts.get(i), Mode.values()[i % 2]));
    }
    CompletableFuture.allOf(futures.toArray(CompletableFuture<?>[]::new)).get();
  }

  @Test
  void aPromptEqualsItsText() throws Exception {
    String text = Texts.random(1, 10, 7).get(0);
    Vectors.assertSame(
        encoder.encodePromptAsync(encoder.prompts().build(text, Mode.SELF, 100), Mode.SELF).get(),
        encoder.encode(text, Mode.SELF));
    assertThatThrownBy(
            () ->
                encoder
                    .encodePromptAsync(
                        encoder.prompts().fromIds(new int[] {512_000}, Mode.SELF), Mode.SELF)
                    .get())
        .hasCauseInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("512000");
  }

  @Test
  void aListEqualsEncodeAll() throws Exception {
    List<String> texts = Texts.random(100, 40, 8);

    List<float[]> embeddings = encoder.encodeAllAsync(texts, Mode.SELF).get();

    Vectors.assertSame(embeddings, encoder.encodeAll(texts, Mode.SELF));
    assertThat(encoder.encodeAllAsync(List.of(), Mode.SELF).get()).isEmpty();
  }

  @Test
  void errorsComeThroughTheFuture() {
    assertThatExceptionOfType(ExecutionException.class)
        .isThrownBy(() -> encoder.encodeAsync(" ", Mode.SELF).get())
        .withCauseInstanceOf(IllegalArgumentException.class)
        .withMessageContaining("blank");
    assertThatExceptionOfType(ExecutionException.class)
        .isThrownBy(() -> encoder.encodeAllAsync(Arrays.asList("a dog", null), Mode.SELF).get())
        .withCauseInstanceOf(IllegalArgumentException.class)
        .withMessageContaining("text 1");
    assertThatNullPointerException().isThrownBy(() -> encoder.encodeAsync(null, Mode.SELF));
    assertThatNullPointerException().isThrownBy(() -> encoder.encodeAllAsync(List.of(), null));
  }

  @Test
  void whatDependsOnAResultRunsOffTheLanesAndMayEncode() throws Exception {
    List<CompletableFuture<String>> threads = new ArrayList<>();
    for (String text : Texts.random(50, 200, 9)) {
      threads.add(
          encoder
              .encodeAsync(text, Mode.SELF)
              .thenApply(
                  embedding -> {
                    encoder.encode(text, Mode.NEXT); // would wait for ever on a lane
                    return Thread.currentThread().getName();
                  }));
    }
    for (CompletableFuture<String> thread : threads) {
      assertThat(thread.get()).doesNotContain("lane");
    }
  }

  @Test
  void cancelledTextsAreDroppedAndLeakNothing() throws Throwable {
    List<String> texts = Texts.random(2_000, 100, 3);
    Leaks.assertNone(
        () -> {
          List<CompletableFuture<?>> futures = new ArrayList<>();
          texts.forEach(text -> futures.add(encoder.encodeAsync(text, Mode.SELF)));
          futures.add(encoder.encodeAllAsync(texts, Mode.SELF));
          futures.forEach(future -> future.cancel(true));
          assertThatThrownBy(() -> futures.get(1_999).get())
              .isInstanceOf(CancellationException.class);
        });
    // With 2,000 texts of up to 100 words still in front this would take longer than the time-out.
    Vectors.assertUnit(encoder.encode("still here", Mode.NEXT));
  }

  @Test
  void closingEndsWhatIsUnderWay() {
    List<CompletableFuture<?>> futures = new ArrayList<>();
    for (String text : Texts.random(200, 100, 4)) {
      futures.add(encoder.encodeAsync(text, Mode.SELF));
    }
    futures.add(encoder.encodeAllAsync(Texts.random(2_000, 100, 4), Mode.SELF));

    encoder.close();

    assertThat(encoder.encodeAsync("a dog", Mode.SELF)).isCompletedExceptionally();
    for (CompletableFuture<?> future : futures) {
      Throwable error = catchThrowable(future::get); // Some may have been done before the end.
      if (error != null) {
        assertThat(error)
            .cause()
            .isInstanceOf(IllegalStateException.class)
            .hasMessageContaining("closed");
      }
    }
    assertThat(futures.get(futures.size() - 1)).isCompletedExceptionally();
  }
}
