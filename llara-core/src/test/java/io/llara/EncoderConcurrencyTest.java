package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.prompt.Prompt;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Many threads on one encoder, and its end. */
@Timeout(60)
class EncoderConcurrencyTest {
  private static final int THREADS = 16;

  private static Encoder open() {
    return Encoder.builder(Stories.dir())
        .template(PromptTemplate.PAPER)
        .computeType(ComputeType.FLOAT32)
        .threads(2)
        .build();
  }

  @Test
  void platformThreadsGetTheVectorsOfSerialCalls() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(THREADS);
    try {
      manyCallsEqualSerialOnes(pool, 10 * THREADS);
    } finally {
      pool.shutdown();
    }
  }

  @Test
  void virtualThreadsGetTheVectorsOfSerialCalls() throws Exception {
    ExecutorService pool = virtualThreads();
    try {
      manyCallsEqualSerialOnes(pool, 1000);
    } finally {
      pool.shutdown();
    }
  }

  /** By name, because they came with Java 21 and this library begins at 17. */
  private static ExecutorService virtualThreads() throws ReflectiveOperationException {
    assumeTrue(Runtime.version().feature() >= 21, "virtual threads need Java 21");
    return (ExecutorService)
        Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
  }

  private static void manyCallsEqualSerialOnes(ExecutorService pool, int calls) throws Exception {
    List<String> texts = Texts.random(calls, 20, 5);
    try (Encoder encoder = open()) {
      List<Future<float[]>> futures = new ArrayList<>();
      for (int i = 0; i < calls; i++) {
        String text = texts.get(i);
        Mode mode = Mode.values()[i % 2];
        futures.add(
            pool.submit(
                () ->
                    text.length() % 3 == 0
                        ? encoder.encodeBoth(text).get(mode)
                        : encoder.encode(text, mode)));
      }
      for (int i = 0; i < calls; i++) {
        Vectors.assertSame(
            futures.get(i).get(30, TimeUnit.SECONDS),
            encoder.encode(texts.get(i), Mode.values()[i % 2]));
      }
    }
  }

  @Test
  void closingInTheMiddleEndsEachCallWithAResultOrAnIllegalState() throws Throwable {
    Leaks.assertNone(() -> closeAmongCalls(0));
    Leaks.assertNone(() -> closeAmongCalls(3));
    Leaks.assertNone(() -> closeAmongCalls(40));
  }

  private static void closeAmongCalls(int millis) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(THREADS);
    Encoder encoder = open();
    List<Future<Integer>> futures = new ArrayList<>();
    for (int i = 0; i < THREADS; i++) {
      int thread = i;
      futures.add(pool.submit(() -> encodeUntilClosed(encoder, thread)));
    }
    Thread.sleep(millis);
    encoder.close();
    pool.shutdown();
    for (Future<Integer> future : futures) {
      future.get(20, TimeUnit.SECONDS); // rethrows anything that is not an IllegalStateException
    }
  }

  private static int encodeUntilClosed(Encoder encoder, int thread) {
    List<String> texts = Texts.random(20, 60, thread);
    int results = 0;
    try {
      while (true) {
        if (thread % 3 == 0) {
          encoder.encodeAll(texts, Mode.SELF).forEach(Vectors::assertUnit);
        } else if (thread % 3 == 1) {
          Vectors.assertUnit(encoder.encodeBoth(texts.get(results % 20)).next());
        } else {
          Vectors.assertUnit(encoder.encode(texts.get(results % 20), Mode.NEXT));
        }
        results++;
      }
    } catch (IllegalStateException e) {
      assertThat(e).hasMessageContaining("closed");
      return results;
    }
  }

  @Test
  void severalThreadsMayCloseAtOnce() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    Encoder encoder = open();
    List<Future<?>> futures = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      futures.add(pool.submit(encoder::close));
    }
    pool.shutdown();
    for (Future<?> future : futures) {
      future.get(20, TimeUnit.SECONDS);
    }
  }

  @Test
  void closingFromTheSinkEndsTheCall() {
    Encoder encoder = open();

    assertThatIllegalStateException()
        .isThrownBy(
            () ->
                encoder.encodeAll(
                    Stream.generate(() -> "a dog"),
                    Mode.SELF,
                    (index, text, embedding) -> encoder.close()))
        .withMessageContaining("closed");
  }

  @Test
  void everyUseAfterTheEndIsRefused() throws Exception {
    Encoder encoder = open();
    Prompt prompt = encoder.prompts().build("a dog", Mode.SELF, 512);
    encoder.close();
    encoder.close();

    List<ThrowingCallable> uses =
        List.of(
            () -> encoder.encode("a dog", Mode.SELF),
            () -> encoder.encodeQuery("a dog"),
            () -> encoder.encodePassage("a dog"),
            () -> encoder.encodeBoth("a dog"),
            () -> encoder.encodePrompt(prompt, Mode.SELF),
            () -> encoder.encodePrompts(List.of(prompt), Mode.SELF),
            () -> encoder.encodePrompts(List.of(), Mode.SELF),
            () -> encoder.countTokens("a dog", Mode.SELF),
            () -> encoder.encodeAll(List.of("a dog"), Mode.SELF),
            () -> encoder.encodeAll(List.of(), Mode.SELF),
            () -> encoder.encodeAll(Stream.of("a dog"), Mode.SELF, (index, text, embedding) -> {}));
    for (ThrowingCallable use : uses) {
      assertThatIllegalStateException().isThrownBy(use).withMessageContaining("encoder is closed");
    }
    assertThat(encoder.dimension()).isEqualTo(64);
  }
}
