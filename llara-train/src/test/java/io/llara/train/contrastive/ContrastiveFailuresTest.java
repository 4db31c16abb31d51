package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.TextModes;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.MarkedStories;
import io.llara.train.TrainingException;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.data.BadLines;
import io.llara.train.data.FewNegatives;
import io.llara.train.run.CheckpointStore;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a run cannot use is named, and nothing that is there is lost. */
class ContrastiveFailuresTest {
  @TempDir static Path shared;
  private static Path model;
  private static Path data;
  @TempDir Path dir;
  private Path out;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    model = TrainingRuns.model(shared, true);
    data = Finetunings.data(shared, 20);
  }

  @BeforeEach
  void chooseOut() {
    out = dir.resolve("out");
  }

  private ContrastiveTrainer.Builder builder() {
    return Finetunings.full(model, data, out).steps(3);
  }

  private ContrastiveTrainer.Builder with(String... lines) {
    Path file = TrainingRuns.write(dir.resolve("some.jsonl"), List.of(lines));
    return Finetunings.full(model, file, out).steps(3);
  }

  private static void assertRefused(ContrastiveTrainer.Builder builder, String... parts) {
    assertThatThrownBy(() -> TrainingRuns.complete(builder))
        .isInstanceOf(LlaraException.class)
        .isNotInstanceOf(TrainingException.class)
        .hasMessageContainingAll(parts);
  }

  private static final String GOOD =
      Finetunings.pair("a dog", List.of("the dog"), List.of("a tree", "a ball"));

  // Data.

  @Test
  void anEmptyFileIsNamed() {
    assertRefused(with(), "some.jsonl: no usable pair: there is no line in it");
    assertThat(out).doesNotExist();
  }

  @Test
  void aQueryWithoutAPositiveIsNamed() {
    assertRefused(with(GOOD, Finetunings.pair("a bird", List.of(), List.of("a"))), "some.jsonl:2");
    assertRefused(
        with("{\"query\": \"a bird\", \"neg\": [\"a\"]}"), "some.jsonl:1", "key 'pos' is missing");
    // Left out on request.
    out = dir.resolve("other");
    assertThat(
            TrainingRuns.complete(
                    with(GOOD, Finetunings.pair("a bird", List.of(), List.of("a")))
                        .badLines(BadLines.SKIP))
                .outcome())
        .isEqualTo(Outcome.COMPLETED);
  }

  @Test
  void aGroupLargerThanTheNegativesRepeatsOrRefusesThem() {
    assertThat(TrainingRuns.complete(with(GOOD).negatives(5)).outcome())
        .isEqualTo(Outcome.COMPLETED);
    out = dir.resolve("other");
    assertRefused(
        with(GOOD).negatives(5).fewNegatives(FewNegatives.REFUSE),
        "some.jsonl:1",
        "key 'neg' is a list of 2 passages; expected at least 5");
    assertThat(out).doesNotExist();
  }

  @Test
  void aQueryWithoutAnyNegativeIsNamed() {
    String none = Finetunings.pair("a dog", List.of("the dog"), List.of());
    assertRefused(with(none), "some.jsonl:1", "expected at least 1");
    // Those of the other queries are enough where none of its own are asked for.
    assertThat(TrainingRuns.complete(with(none).negatives(0)).outcome())
        .isEqualTo(Outcome.COMPLETED);
  }

  @Test
  void aFileThatIsNotThereIsNamed() {
    Path none = dir.resolve("none.jsonl");
    assertRefused(Finetunings.full(model, none, out), none.toString(), "no such file");
    assertThat(out).doesNotExist();
  }

  @Test
  void whenEverythingIsHeldOutThatIsSaid() {
    assertRefused(with(GOOD).heldOut(0.999999), "no usable pair in 1 line: 1 held out");
    assertRefused(with(GOOD).heldOut(1e-9), "no usable pair in 1 line: 1 for training");
  }

  // Model.

  @Test
  void missingMarkersAreNamed() {
    Path base = model.resolveSibling("base");
    // Without them the paper's prompts are what there is.
    assertThat(TrainingRuns.complete(Finetunings.full(base, data, out).steps(2)).outcome())
        .isEqualTo(Outcome.COMPLETED);
    out = dir.resolve("other");
    assertRefused(
        Finetunings.full(base, data, out).template(PromptTemplate.LLAMA2VEC),
        base.toString(),
        "<s1>",
        "template 'llama2vec'",
        "add-markers");
    assertThat(out).doesNotExist();
  }

  @Test
  void morePositionsThanTheModelHasAreRefused() {
    assertRefused(builder().passageMaxTokens(129), model.toString(), "128", "129");
    assertThat(out).doesNotExist();
  }

  @Test
  void promptsWithoutRoomForATextAreRefusedBeforeTheDirectoryIsClaimed() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TrainingRuns.complete(builder().queryMaxTokens(12)))
        .withMessageContaining("12");
    assertThat(out).doesNotExist();
  }

  @Test
  void aNanInTheModelStopsAtTheFirstStepAndNamesTheBatch() {
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
    assertThatThrownBy(() -> TrainingRuns.complete(Finetunings.full(broken, data, out)))
        .isInstanceOf(TrainingException.class)
        .hasMessageStartingWith("step 1: ")
        .hasMessageContaining(data + ":");
    assertThat(new CheckpointStore(out, 1).newest()).isEmpty();
  }

  // The output directory.

  @Test
  void otherSettingsThanBeforeAreNamed() {
    TrainingRuns.stopAfter(1, builder());
    assertRefused(
        builder().temperature(0.05).negatives(3).modes(TextModes.S2S).normalize(false),
        out.toString(),
        "other settings",
        "temperature: was 0.1, now 0.05",
        "negatives: was 2, now 3",
        "modes: was n2s, now s2s",
        "normalize: was true, now false");
    assertRefused(builder().passageMaxTokens(90), "passage max tokens: was 80, now 90");
    assertThat(TrainingRuns.complete(builder().saveEvery(7).recompute(true)).outcome())
        .isEqualTo(Outcome.COMPLETED);
    assertThat(TrainingRuns.complete(builder()).outcome()).isEqualTo(Outcome.ALREADY_COMPLETE);
  }

  // Settings that are wrong by themselves.

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, 0, -1e-3, Double.POSITIVE_INFINITY})
  void theTemperatureIsPositiveAndFinite(double temperature) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> builder().temperature(temperature).build())
        .withMessageContaining("temperature is " + temperature);
  }

  @Test
  void anyTemperatureGoesWithoutNormalisation() {
    TrainingRuns.complete(builder().normalize(false).temperature(0.5));
    Path other = dir.resolve("other");
    TrainingRuns.complete(
        Finetunings.full(model, data, other).steps(3).normalize(false).temperature(1));
    // No temperature is put in the place of another.
    assertThat(TrainingRuns.values(TrainingRuns.metrics(out), "loss").get(0))
        .isNotEqualTo(TrainingRuns.values(TrainingRuns.metrics(other), "loss").get(0));
  }

  @Test
  void aBatchWithNothingToTellApartIsRefused() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> builder().batch(1).negatives(0).build())
        .withMessageContaining("batch of 1 query");
    assertThat(builder().batch(1).negatives(1).build()).isNotNull();
  }

  @Test
  void everythingThatIsWrongIsNamedAtOnce() {
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                ContrastiveTrainer.builder(model, List.of(), out)
                    .temperature(Double.NaN)
                    .negatives(-1)
                    .queryMaxTokens(0)
                    .passageMaxTokens(0)
                    .subBatch(-1)
                    .batch(0)
                    .epochs(0)
                    .learningRate(-1)
                    .build())
        .satisfies(
            error ->
                assertThat(error.getMessage().split("; "))
                    .as(error.getMessage())
                    .hasSize(9)
                    .doesNotHaveDuplicates());
  }
}
