package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.testing.Directories;
import io.llara.testing.MarkedStories;
import io.llara.train.TrainingException;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.run.CheckpointStore;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a run cannot use is named, and nothing that is there is lost. */
class PretrainerFailuresTest {
  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  @TempDir Path dir;
  private Path out;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = Runs.data(shared, 20);
  }

  @BeforeEach
  void chooseOut() {
    out = dir.resolve("out");
  }

  private Pretrainer.Builder builder() {
    return Runs.full(model, data, out).steps(3);
  }

  // Loss or gradient of NaN.

  @Test
  void aCheckpointWithANanStopsAtTheFirstStepAndNamesTheBatch() throws IOException {
    Path broken = withNan();
    assertThatThrownBy(() -> TrainingRuns.complete(Runs.full(broken, data, out)))
        .isInstanceOf(TrainingException.class)
        .hasMessageStartingWith("step 1: ")
        .hasMessageContaining("is not finite")
        .hasMessageContaining(data + ":");
    assertThat(Files.readString(out.resolve("metrics.jsonl"))).isEmpty();
    assertThat(out.resolve("config.json")).doesNotExist();
    assertThat(new CheckpointStore(out, 1).newest()).isEmpty();
  }

  @Test
  void aNanInTheLossOfHeldOutTextsIsATrainingErrorToo() {
    assertThatThrownBy(() -> TrainingRuns.complete(Runs.full(withNan(), data, out).heldOut(0.3)))
        .isInstanceOf(TrainingException.class)
        .hasMessageContaining("held-out");
  }

  private Path withNan() {
    Path broken = Directories.copy(model, dir.resolve("broken"));
    MarkedStories.changeWeights(
        broken,
        entry -> {
          float[] values = entry.readFloats();
          if (entry.name().endsWith("layers.1.mlp.down_proj.weight")) {
            values[3] = Float.NaN;
          }
          return values;
        });
    return broken;
  }

  @Test
  void aRunThatDivergesKeepsItsLastCheckpoint() {
    UnaryOperator<Pretrainer.Builder> absurd =
        builder -> builder.learningRate(1e30).warmup(0).saveEvery(1);
    assertThatThrownBy(() -> TrainingRuns.complete(absurd.apply(builder())))
        .isInstanceOf(TrainingException.class)
        .hasMessageStartingWith("step 2: ")
        .hasMessageContaining(data + ":");
    assertThat(TrainingRuns.metrics(out)).hasSize(1);
    CheckpointStore.Saved saved = new CheckpointStore(out, 2).newest().orElseThrow();
    assertThat(saved.state().step()).isEqualTo(1);
    assertThat(saved.skipped()).isEmpty();
    // And it says the same again.
    assertThatThrownBy(() -> TrainingRuns.complete(absurd.apply(builder())))
        .isInstanceOf(TrainingException.class)
        .hasMessageStartingWith("step 2: ");
  }

  @Test
  void theBatchThatIsNamedIsTheOneThatFailed() {
    // One text to learn from: its line is the batch.
    Path one =
        TrainingRuns.write(dir.resolve("one.jsonl"), List.of(Runs.pair("a dog", "dog", "park")));
    assertThatThrownBy(() -> TrainingRuns.complete(Runs.full(withNan(), one, out).batch(1)))
        .isInstanceOf(TrainingException.class)
        .hasMessageEndingWith("The batch: " + one + ":1");
  }

  // Data.

  @Test
  void anEmptyDataFileIsNamed() {
    Path empty = TrainingRuns.write(dir.resolve("empty.jsonl"), List.of());
    assertRefused(Runs.full(model, empty, out), empty.toString(), "no usable pair");
    assertThat(out).doesNotExist();
  }

  @Test
  void aFileWithoutAUsablePairIsNamed() {
    Path one =
        TrainingRuns.write(
            dir.resolve("one.jsonl"), List.of("{\"id\": \"a\", \"text\": \"One passage only.\"}"));
    assertRefused(Runs.full(model, one, out), one.toString(), "no usable pair");
    assertThat(out).doesNotExist();
    // For language modelling it is enough.
    assertThat(
            TrainingRuns.complete(Runs.full(model, one, out).recipe(Recipe.LM).steps(2)).outcome())
        .isEqualTo(Outcome.COMPLETED);
  }

  @Test
  void aFileThatIsNotThereIsNamed() {
    Path none = dir.resolve("none.jsonl");
    assertRefused(Runs.full(model, none, out), none.toString(), "no such file");
    assertThat(out).doesNotExist();
  }

  @Test
  void aBadLineIsNamed() {
    Path bad =
        TrainingRuns.write(
            dir.resolve("bad.jsonl"), List.of(Runs.pair("a dog", "dog", "park"), "{\"inp"));
    assertRefused(Runs.full(model, bad, out), bad + ":2");
  }

  @Test
  void whenEverythingIsHeldOutThatIsSaid() {
    Path one =
        TrainingRuns.write(dir.resolve("one.jsonl"), List.of(Runs.pair("a dog", "dog", "park")));
    assertRefused(Runs.full(model, one, out).heldOut(0.999999), one.toString(), "no usable pair");
    assertRefused(Runs.full(model, one, out).heldOut(1e-9), one.toString(), "no usable pair");
  }

  // Model.

  @Test
  void missingMarkersAreNamed() {
    Path base = model.resolveSibling("base");
    assertRefused(Runs.full(base, data, out), base.toString(), "<s1>", "<s16>", "add-markers");
    assertThat(out).doesNotExist();
    // The paper's recipe needs none.
    assertThat(
            TrainingRuns.complete(Runs.full(base, data, out).recipe(Recipe.PAPER).steps(2))
                .outcome())
        .isEqualTo(Outcome.COMPLETED);
  }

  @Test
  void aModelThatIsNotThereIsNamed() {
    Path none = dir.resolve("none");
    assertThatThrownBy(() -> TrainingRuns.complete(Runs.full(none, data, out)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(none.toString());
  }

  @Test
  void morePositionsThanTheModelHasAreRefused() {
    assertRefused(builder().maxTokens(129), model.toString(), "128", "129");
    assertThat(out).doesNotExist();
  }

  @Test
  void promptsWithoutRoomForATextAreRefusedBeforeTheDirectoryIsClaimed() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TrainingRuns.complete(builder().maxTokens(20)))
        .withMessageContaining("20");
    assertThat(out).doesNotExist();
    assertThat(TrainingRuns.complete(builder()).outcome()).isEqualTo(Outcome.COMPLETED);
  }

  // The output directory.

  @Test
  void otherSettingsThanBeforeAreNamed() {
    TrainingRuns.stopAfter(1, builder());
    assertRefused(
        builder().batch(8).learningRate(5e-4).seed(8),
        out.toString(),
        "other settings",
        "batch: was 4, now 8",
        "learning rate: was 0.001, now 5.0E-4",
        "seed: was 7, now 8");
    assertRefused(builder().steps(4), "steps: was 3, now 4");
    assertRefused(builder().lora(io.llara.train.lora.LoraOptions.DEFAULT), "train: was");
    assertThat(TrainingRuns.complete(builder()).outcome()).isEqualTo(Outcome.COMPLETED);
    assertRefused(builder().batch(8), "batch: was 4, now 8");
  }

  @Test
  void settingsThatChangeNoNumberMayDiffer() {
    TrainingRuns.stopAfter(1, builder());
    assertThat(TrainingRuns.complete(builder().saveEvery(7).keep(5).recompute(true)).outcome())
        .isEqualTo(Outcome.COMPLETED);
  }

  @Test
  void otherDataUnderTheSameNameIsNamed() throws IOException {
    Path own = Files.copy(data, dir.resolve("own.jsonl"));
    TrainingRuns.stopAfter(1, Runs.full(model, own, out));
    Files.writeString(own, Files.readString(own) + Runs.pair("a", "b", "c") + "\n");
    assertRefused(Runs.full(model, own, out), own.toString(), "SHA-256");
  }

  @Test
  void aDirectoryWithAnotherModelIsRefusedAndLeftAsItIs() throws IOException {
    Directories.copy(model, out);
    byte[] before = Files.readAllBytes(out.resolve("model.safetensors"));
    assertRefused(builder(), out.toString(), "holds a model");
    assertThat(Files.readAllBytes(out.resolve("model.safetensors"))).isEqualTo(before);
    assertThat(out.resolve("run.json")).doesNotExist();
  }

  @Test
  void aFileInThePlaceOfTheDirectoryIsNamed() throws IOException {
    Files.writeString(out, "something else");
    assertRefused(builder(), out.toString());
    assertThat(Files.readString(out)).isEqualTo("something else");
  }

  private static void assertRefused(Pretrainer.Builder builder, String... parts) {
    assertThatThrownBy(() -> TrainingRuns.complete(builder))
        .isInstanceOf(LlaraException.class)
        .isNotInstanceOf(TrainingException.class)
        .hasMessageContainingAll(parts);
  }

  // Settings that are wrong by themselves.

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, 0, -1e-3, Double.POSITIVE_INFINITY})
  void theLearningRateIsPositiveAndFinite(double rate) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> builder().learningRate(rate).build())
        .withMessageContaining("learning rate is " + rate);
  }

  @Test
  void aBatchIsDividedEvenly() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> builder().batch(10).microBatches(4).build())
        .withMessageContaining("batch of 10")
        .withMessageContaining("4 micro-batches");
    assertThatIllegalArgumentException().isThrownBy(() -> builder().batch(0).build());
    assertThatIllegalArgumentException().isThrownBy(() -> builder().microBatches(0).build());
  }

  @Test
  void warmUpIsNotLongerThanTheRun() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> builder().warmup(4).build())
        .withMessageContaining("warm-up");
    // Where the data tells the number of steps, only the run can know: 20 texts in batches of 4.
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TrainingRuns.complete(builder().epochs(1).warmup(6)))
        .withMessageContaining("warm-up is 6 steps");
    assertThat(out).doesNotExist();
    assertThat(TrainingRuns.complete(builder().epochs(1).warmup(5)).step()).isEqualTo(5);
  }

  @Test
  void everythingThatIsWrongIsNamedAtOnce() {
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                Pretrainer.builder(model, List.of(), out)
                    .epochs(0)
                    .steps(0)
                    .warmup(-1)
                    .weightDecay(Double.NaN)
                    .clip(-1)
                    .maxTokens(1)
                    .passageTokens(3)
                    .shuffleBuffer(0)
                    .heldOut(1)
                    .evaluateEvery(0)
                    .evaluationTexts(0)
                    .saveEvery(0)
                    .keep(0)
                    .threads(0)
                    .build())
        .satisfies(
            error ->
                assertThat(error.getMessage().split("; "))
                    .as(error.getMessage())
                    .hasSize(15)
                    .doesNotHaveDuplicates());
  }

  @Test
  void nothingIsReadOrWrittenBeforeItRuns() {
    Path none = dir.resolve("none").resolve(String.valueOf(new Random(1).nextInt()));
    assertThat(Pretrainer.builder(none, List.of(none), out).build()).isNotNull();
    assertThat(out).doesNotExist();
  }
}
