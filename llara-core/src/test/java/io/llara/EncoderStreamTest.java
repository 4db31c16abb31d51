package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.prompt.PromptTemplate;
import io.llara.testing.Leaks;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Lists and streams of texts: order, the sink, progress, and what ends them early. */
@Timeout(60)
class EncoderStreamTest {
  /** More than two windows, so that some are read while others run. */
  private static final int MANY = 10_000;

  private final List<String> progress = new ArrayList<>();
  private Encoder encoder;

  @BeforeEach
  void open() {
    encoder = builder().progress((done, total) -> progress.add(done + "/" + total)).build();
  }

  @AfterEach
  void close() {
    encoder.close();
  }

  private static EncoderBuilder builder() {
    return Encoder.builder(Stories.dir())
        .template(PromptTemplate.PAPER)
        .computeType(ComputeType.FLOAT32)
        .threads(2);
  }

  private static Stream<String> many() {
    return IntStream.range(0, MANY).mapToObj(i -> "dog " + i % 97);
  }

  @Test
  void theSinkGetsAllInOrderOnTheCallersThread() {
    List<String> texts = many().toList();
    AtomicLong next = new AtomicLong();
    Thread caller = Thread.currentThread();
    List<float[]> some = new ArrayList<>();

    encoder.encodeAll(
        many(),
        Mode.SELF,
        (index, text, embedding) -> {
          assertThat(index).isEqualTo(next.getAndIncrement());
          assertThat(text).isEqualTo(texts.get((int) index));
          assertThat(Thread.currentThread()).isSameAs(caller);
          if (index % 1000 == 5) {
            some.add(embedding);
          }
        });

    assertThat(next).hasValue(MANY);
    for (int i = 0; i < some.size(); i++) {
      Vectors.assertSame(some.get(i), encoder.encode(texts.get(1000 * i + 5), Mode.SELF));
    }
  }

  @Test
  void aListKeepsItsOrder() {
    List<String> texts = Texts.random(50, 60, 2);
    List<float[]> embeddings = encoder.encodeAll(texts, Mode.NEXT);

    Vectors.assertSame(
        embeddings, texts.stream().map(text -> encoder.encode(text, Mode.NEXT)).toList());
  }

  @Test
  void progressOfAListRisesToItsEnd() {
    encoder.encodeAll(Texts.random(100, 30, 3), Mode.SELF);

    assertThat(progress).last().isEqualTo("100/100");
    assertThat(progress.stream().map(line -> Integer.parseInt(line.split("/")[0])).toList())
        .isSorted()
        .doesNotHaveDuplicates();
  }

  @Test
  void theTotalOfAStreamIsWhatTheStreamKnows() {
    Stream<String> unknown = Stream.of("a dog", "a cat").filter(text -> !text.isEmpty());
    encoder.encodeAll(unknown, Mode.SELF, (index, text, embedding) -> {});
    assertThat(progress).last().isEqualTo("2/-1");

    encoder.encodeAll(Stream.of("a dog", "a cat"), Mode.SELF, (index, text, embedding) -> {});
    assertThat(progress).last().isEqualTo("2/2");
  }

  @Test
  void aStreamMayBeEmpty() {
    encoder.encodeAll(
        Stream.empty(), Mode.SELF, (index, text, embedding) -> assertThat(index).isNull());

    assertThat(progress).isEmpty();
  }

  @Test
  void anEndlessStreamIsReadOnlyAsFarAsNeeded() {
    AtomicInteger read = new AtomicInteger();
    Stream<String> endless = Stream.generate(() -> "dog " + read.incrementAndGet());

    assertThatThrownBy(
            () ->
                encoder.encodeAll(
                    endless,
                    Mode.SELF,
                    (index, text, embedding) -> {
                      throw new UnsupportedOperationException("full");
                    }))
        .hasMessage("full");

    assertThat(read.get()).isLessThan(10_000);
  }

  @Test
  void anErrorOfTheSinkReachesTheCallerAndLeaksNothing() throws Throwable {
    Leaks.assertNone(
        () -> {
          AtomicInteger calls = new AtomicInteger();
          assertThatThrownBy(
                  () ->
                      encoder.encodeAll(
                          many(),
                          Mode.SELF,
                          (index, text, embedding) -> {
                            if (calls.incrementAndGet() == 10) {
                              throw new UnsupportedOperationException("full");
                            }
                          }))
              .isInstanceOf(UnsupportedOperationException.class)
              .hasMessage("full");
          assertThat(calls).hasValue(10);
        });
    assertUsable();
  }

  @Test
  void anErrorOfTheStreamReachesTheCallerAndLeaksNothing() throws Throwable {
    Leaks.assertNone(
        () ->
            assertThatThrownBy(
                    () ->
                        encoder.encodeAll(
                            many()
                                .peek(
                                    text -> {
                                      if (text.equals("dog 96")) {
                                        throw new UnsupportedOperationException("torn");
                                      }
                                    }),
                            Mode.SELF,
                            (index, text, embedding) -> {}))
                .hasMessage("torn"));
    assertUsable();
  }

  @Test
  void anErrorOfTheListenerReachesTheCaller() throws Throwable {
    try (Encoder other =
        builder()
            .progress(
                (done, total) -> {
                  throw new UnsupportedOperationException("bar");
                })
            .build()) {
      Leaks.assertNone(
          () ->
              assertThatThrownBy(() -> other.encodeAll(many().toList(), Mode.SELF))
                  .hasMessage("bar"));
    }
  }

  @Test
  void aBadTextIsNamedByItsPlaceAndEndsTheCall() throws Throwable {
    Leaks.assertNone(
        () -> {
          assertThatThrownBy(() -> encoder.encodeAll(List.of("a dog", " "), Mode.SELF))
              .isInstanceOf(IllegalArgumentException.class)
              .hasMessageContainingAll("text 1", "blank");
          assertThatThrownBy(
                  () ->
                      encoder.encodeAll(
                          Stream.concat(many(), Stream.of("\ud800")),
                          Mode.SELF,
                          (index, text, embedding) -> {}))
              .isInstanceOf(TokenizationException.class)
              .hasMessageContainingAll("text " + MANY, "surrogate");
        });
    assertUsable();
  }

  @Test
  void anInterruptInTheSinkEndsTheCallAndStaysSet() throws Throwable {
    Leaks.assertNone(
        () -> {
          AtomicInteger calls = new AtomicInteger();
          assertThatThrownBy(
                  () ->
                      encoder.encodeAll(
                          many(),
                          Mode.SELF,
                          (index, text, embedding) -> {
                            if (calls.incrementAndGet() == 10) {
                              Thread.currentThread().interrupt();
                            }
                          }))
              .isInstanceOf(LlaraException.class)
              .hasMessageContainingAll("interrupted", "10");
          assertThat(Thread.interrupted()).isTrue();
          assertThat(calls).hasValue(10);
        });
    assertUsable();
  }

  @Test
  void anInterruptFromOutsideEndsTheWait() throws Exception {
    CompletableFuture<Throwable> error = new CompletableFuture<>();
    Stream<String> endless = Stream.generate(() -> "once upon a time ".repeat(20));
    Thread caller =
        new Thread(
            () -> {
              try {
                encoder.encodeAll(endless, Mode.SELF, (index, text, embedding) -> {});
                error.complete(new AssertionError("it ended"));
              } catch (RuntimeException e) {
                error.complete(e);
              }
            });
    caller.start();
    Thread.sleep(100);
    caller.interrupt();

    assertThat(error.get(10, TimeUnit.SECONDS))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("interrupted");
    caller.join();
    assertUsable();
  }

  @Test
  void theSinkMayCallTheEncoder() {
    List<EmbeddingPair> pairs = new ArrayList<>();

    encoder.encodeAll(
        Stream.of("a dog", "a cat"),
        Mode.SELF,
        (index, text, embedding) ->
            pairs.add(new EmbeddingPair(embedding, encoder.encode(text, Mode.SELF))));

    assertThat(pairs).hasSize(2).allSatisfy(pair -> Vectors.assertSame(pair.self(), pair.next()));
  }

  private void assertUsable() {
    Vectors.assertUnit(encoder.encode("still here", Mode.NEXT));
  }
}
