package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.JsonObject;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.run.CheckpointStore;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Negatives mined anew between steps: with which model, from when on, and once each. */
class RefreshTest {
  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  private static Path unbroken;
  @TempDir Path dir;
  private Path out;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = Finetunings.data(shared, 20);
    unbroken = shared.resolve("unbroken");
    TrainingRuns.complete(builder(unbroken, Finetunings.byTheModel()));
  }

  @BeforeEach
  void chooseOut() {
    out = dir.resolve("out");
  }

  /** Refreshes after steps 3 and 6; the checkpoints of their own are of 4 and 8. */
  private static ContrastiveTrainer.Builder builder(Path out, NegativeRefresher refresher) {
    return Finetunings.full(model, data, out).refresh(Refresh.every(3, refresher));
  }

  private static Path folder(Path out, int step) {
    return out.resolve("refresh/step-0000000" + step);
  }

  private static void assertLikeUnbroken(Path actual) {
    assertThat(TrainingRuns.metrics(actual)).isEqualTo(TrainingRuns.metrics(unbroken)).hasSize(9);
    TrainingRuns.assertSameWeights(actual, unbroken);
  }

  @Test
  void theSchedule() {
    Refresh refresh = Refresh.every(3, Finetunings.byTheModel()).from(2).times(3);
    assertThat(LongStream.rangeClosed(0, 20).filter(refresh::isDue).toArray())
        .containsExactly(2, 5, 8);
    assertThat(LongStream.of(0, 2, 3, 5, 6, 8, 9, 20).map(refresh::lastBefore).toArray())
        .containsExactly(-1, -1, 2, 2, 5, 5, 8, 8);
    Refresh open = Refresh.every(3, Finetunings.byTheModel()).from(0);
    assertThat(LongStream.rangeClosed(0, 7).filter(open::isDue).toArray()).containsExactly(0, 3, 6);
    assertThat(LongStream.of(0, 1, 3, 4).map(open::lastBefore).toArray())
        .containsExactly(-1, 0, 0, 3);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Refresh.every(0, Finetunings.byTheModel()));
  }

  @Test
  void aRefresherGetsTheModelOfTheStepAndThePairsSoFar() throws IOException {
    List<Path> models = new ArrayList<>();
    List<String> heard = new ArrayList<>();
    NegativeRefresher refresher =
        (trained, pairs, file) -> {
          models.add(trained);
          try (Encoder encoder = Encoder.load(trained)) {
            assertThat(encoder.maxTokens()).isEqualTo(Finetunings.MAX_TOKENS + 8);
          }
          assertThat(trained.resolve("model.safetensors")).exists();
          if (models.size() == 2) {
            // What the first one wrote.
            Finetunings.write(
                file,
                pairs,
                pair -> {
                  assertThat(pair.negatives()).containsExactly("red bird", "1");
                  return List.of("red bird", "2");
                });
          } else {
            Finetunings.write(file, pairs, pair -> List.of("red bird", "1"));
          }
        };
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void refreshing(long step) {
            heard.add("refreshing " + step);
          }

          @Override
          public void refreshed(long step, Path pairs) {
            heard.add("refreshed %d %s".formatted(step, pairs.getFileName()));
          }
        };
    TrainingRuns.complete(builder(out, refresher).listener(listener));
    assertThat(heard)
        .containsExactly(
            "refreshing 3", "refreshed 3 pairs.jsonl", "refreshing 6", "refreshed 6 pairs.jsonl");
    for (int step : new int[] {3, 6}) {
      assertThat(folder(out, step).toFile().list())
          .containsExactlyInAnyOrder("pairs.jsonl", "refresh.json");
    }
    assertThat(Files.readAllLines(folder(out, 6).resolve("pairs.jsonl")))
        .hasSize(20)
        .allSatisfy(line -> assertThat(line).endsWith("\"neg\":[\"red bird\",\"2\"]}"));
    assertThat(models).doesNotHaveDuplicates().allSatisfy(at -> assertThat(at).doesNotExist());
  }

  @Test
  void stepsBeforeAreAsWithoutAndLaterOnesAreNot() {
    TrainingRuns.complete(Finetunings.full(model, data, out));
    List<JsonObject> without = TrainingRuns.metrics(out);
    List<JsonObject> with = TrainingRuns.metrics(unbroken);
    assertThat(with.subList(0, 3)).isEqualTo(without.subList(0, 3));
    assertThat(with.get(3)).isNotEqualTo(without.get(3));
  }

  @Test
  void theSameNegativesChangeNothing() {
    NegativeRefresher same =
        (trained, pairs, file) -> Finetunings.write(file, pairs, TrainingPair::negatives);
    TrainingRuns.complete(builder(out, same));
    TrainingRuns.complete(Finetunings.full(model, data, dir.resolve("without")));
    assertThat(TrainingRuns.metrics(out))
        .isEqualTo(TrainingRuns.metrics(dir.resolve("without")))
        .hasSize(9);
  }

  @Test
  void aRefreshThatFailedIsDoneAgain() {
    NegativeRefresher failing =
        (trained, pairs, file) -> {
          // Half of it is there.
          TrainingRuns.write(file, List.of(Finetunings.pair("a", List.of("b"), List.of("c"))));
          throw new IllegalStateException("the disk is full");
        };
    assertThatThrownBy(() -> TrainingRuns.complete(builder(out, failing)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the disk is full");
    // Nothing that was trained is lost, and the copy of the model is gone.
    assertThat(new CheckpointStore(out, 2).newest().orElseThrow().state().step()).isEqualTo(3);
    assertThat(folder(out, 3).resolve("model")).doesNotExist();
    assertThat(folder(out, 3).resolve("pairs.jsonl")).doesNotExist();
    TrainingRuns.complete(builder(out, Finetunings.byTheModel()));
    assertLikeUnbroken(out);
  }

  @Test
  void pairsWithoutTheirRecordAreNotWhole() throws IOException {
    TrainingRuns.stopAfter(3, builder(out, Finetunings.byTheModel()));
    Path half = Files.createDirectories(folder(out, 3)).resolve("pairs.jsonl");
    Files.writeString(half, Finetunings.pair("a", List.of("b"), List.of("c")) + "\n");
    Files.createDirectories(folder(out, 3).resolve("model"));
    Files.writeString(folder(out, 3).resolve("model").resolve("config.json"), "{}");
    TrainingRuns.complete(builder(out, Finetunings.byTheModel()));
    assertLikeUnbroken(out);
  }

  @Test
  void aRefreshThatIsThereIsTakenAsItIs() {
    TrainingRuns.stopAfter(4, builder(out, Finetunings.byTheModel()));
    List<Long> again = new ArrayList<>();
    TrainingListener listener =
        new TrainingListener() {
          @Override
          public void refreshing(long step) {
            again.add(step);
          }
        };
    TrainingRuns.complete(builder(out, Finetunings.byTheModel()).listener(listener));
    assertThat(again).containsExactly(6L);
    assertLikeUnbroken(out);
  }

  @Test
  void pairsThatAreDamagedOrGoneAreNamed() throws IOException {
    TrainingRuns.stopAfter(4, builder(out, Finetunings.byTheModel()));
    Path pairs = folder(out, 3).resolve("pairs.jsonl");
    String whole = Files.readString(pairs);
    Files.writeString(pairs, whole.replaceFirst("dog|ball|Lily", "cat"));
    assertThatThrownBy(() -> TrainingRuns.complete(builder(out, Finetunings.byTheModel())))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(pairs.toString())
        .hasMessageContaining("after step 3");
    Files.writeString(pairs, whole);
    TrainingRuns.complete(builder(out, Finetunings.byTheModel()));
    assertLikeUnbroken(out);
  }

  @Test
  @Timeout(60)
  void aRequestToStopEndsTheRefreshToo() throws InterruptedException {
    CountDownLatch begun = new CountDownLatch(1);
    NegativeRefresher patient =
        (trained, pairs, file) -> {
          begun.countDown();
          try {
            new CountDownLatch(1).await();
          } catch (InterruptedException e) {
            throw new LlaraException("interrupted", e);
          }
        };
    ContrastiveTrainer trainer = builder(out, patient).build();
    Thread stopping =
        new Thread(
            () -> {
              try {
                begun.await();
              } catch (InterruptedException e) {
                throw new IllegalStateException(e);
              }
              trainer.stop();
            });
    stopping.start();
    assertThat(trainer.run()).isEqualTo(new TrainingResult(Outcome.STOPPED, 3, out));
    stopping.join();
    assertThat(folder(out, 3).resolve("model")).doesNotExist();
    TrainingRuns.complete(builder(out, Finetunings.byTheModel()));
    assertLikeUnbroken(out);
  }

  @Test
  void otherQueriesThanBeforeAreRefused() {
    assertRefused(
        (trained, pairs, file) ->
            TrainingRuns.write(file, List.of(Finetunings.pair("a", List.of("b"), List.of("c")))),
        "mined.jsonl:1: differs from " + data + ":1 in its query or positives");
    assertRefused(
        (trained, pairs, file) -> {
          Finetunings.write(file, pairs, pair -> List.of("c"));
          List<String> lines = readAll(file);
          TrainingRuns.write(file, lines.subList(0, lines.size() - 1));
        },
        "has fewer pairs than there were before, 19 of both");
    assertRefused(
        (trained, pairs, file) -> {
          Finetunings.write(file, pairs, pair -> List.of("c"));
          List<String> lines = new ArrayList<>(readAll(file));
          lines.add(lines.get(0));
          TrainingRuns.write(file, lines);
        },
        "has more pairs than there were before, 20 of both");
    assertRefused((trained, pairs, file) -> {}, "mined.jsonl: no such file");
    TrainingRuns.complete(builder(out, Finetunings.byTheModel()));
    assertLikeUnbroken(out);
  }

  private void assertRefused(NegativeRefresher refresher, String message) {
    assertThatThrownBy(() -> TrainingRuns.complete(builder(out, refresher)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(message);
    assertThat(folder(out, 3).resolve("pairs.jsonl")).doesNotExist();
  }

  private static List<String> readAll(Path file) {
    try {
      return Files.readAllLines(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void aPairWithTooFewNegativesKeepsThoseItHad() throws IOException {
    NegativeRefresher few =
        (trained, pairs, file) ->
            Finetunings.write(
                file, pairs, pair -> pair.query().endsWith("7") ? List.of() : List.of("red"));
    TrainingRuns.complete(builder(out, few));
    Dataset<TrainingPair> before = Dataset.ofPairs(List.of(data));
    Dataset<TrainingPair> after = Dataset.ofPairs(List.of(folder(out, 6).resolve("pairs.jsonl")));
    try (var old = before.open();
        var now = after.open()) {
      while (old.hasNext()) {
        var pair = old.next();
        assertThat(now.next().negatives())
            .isEqualTo(pair.query().endsWith("7") ? pair.negatives() : List.of("red"));
      }
    }
    assertThat(Files.readString(folder(out, 6).resolve("refresh.json")))
        .contains("\"pairs\": 20")
        .contains("\"kept\": 2");
  }

  @Test
  void anotherRefreshIsAnotherRun() {
    TrainingRuns.stopAfter(1, builder(out, Finetunings.byTheModel()));
    assertThatThrownBy(() -> TrainingRuns.complete(Finetunings.full(model, data, out)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("refresh: was every 3 steps from step 3 on; custom, now none");
  }

  @Test
  void heldOutPairsStayTheSame() {
    TrainingRuns.complete(builder(out, Finetunings.byTheModel()).heldOut(0.3).evaluateEvery(1));
    Path without = dir.resolve("without");
    TrainingRuns.complete(Finetunings.full(model, data, without).heldOut(0.3).evaluateEvery(1));
    // After step 3 the models are the same, and so are the texts: the refresh has come between.
    assertThat(TrainingRuns.evaluations(out).subList(0, 4))
        .isEqualTo(TrainingRuns.evaluations(without).subList(0, 4));
    assertThat(readAll(folder(out, 3).resolve("pairs.jsonl"))).hasSizeLessThan(20);
  }
}
