package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.train.lora.LoraOptions;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** How a batch is cut changes no number, though labelled tokens and bags are spread unevenly. */
class BatchSplittingTest {
  private static final double TOLERANCE = 1e-5;

  @TempDir static Path shared;
  private static Path tied;
  private static Path untied;
  private static Path data;
  @TempDir Path dir;

  @BeforeAll
  static void prepare() {
    NativeThreads.one();
    tied = TrainingRuns.model(shared.resolve("tied"), true);
    untied = TrainingRuns.model(shared.resolve("untied"), false);
    data = Runs.data(shared, 40);
  }

  private Path run(String name, Path model, UnaryOperator<Pretrainer.Builder> change) {
    Path out = dir.resolve(name);
    TrainingRuns.complete(
        change.apply(Runs.full(model, data, out).batch(12).steps(6).learningRate(5e-3)));
    return out;
  }

  private static void assertSame(Path actual, Path expected) {
    for (String term : List.of("loss", "ar_loss", "self_loss", "next_loss", "gradient_norm")) {
      List<Double> right = TrainingRuns.values(TrainingRuns.metrics(expected), term);
      List<Double> values = TrainingRuns.values(TrainingRuns.metrics(actual), term);
      assertThat(values).hasSameSizeAs(right);
      for (int step = 0; step < right.size(); step++) {
        assertThat(values.get(step))
            .as("%s of step %s", term, step + 1)
            .isCloseTo(right.get(step), within(TOLERANCE * right.get(step)));
      }
    }
    Numbers.assertClose(TrainingRuns.weights(actual), TrainingRuns.weights(expected), TOLERANCE);
    assertThat(TrainingRuns.values(TrainingRuns.metrics(actual), "tokens"))
        .isEqualTo(TrainingRuns.values(TrainingRuns.metrics(expected), "tokens"));
  }

  @Test
  void microBatchesAreABatch() {
    Path whole = run("1", tied, builder -> builder);
    assertSame(run("2", tied, builder -> builder.microBatches(2)), whole);
    assertSame(run("12", tied, builder -> builder.microBatches(12)), whole);
  }

  @Test
  void moreLanesEqualFewer() {
    Path one = run("1", untied, builder -> builder.threads(1));
    assertSame(run("2", untied, builder -> builder.threads(2)), one);
    // Some lanes have nothing to do.
    assertSame(run("5", untied, builder -> builder.threads(5).microBatches(4)), one);
  }

  @Test
  void whatIsRunAgainIsTheSame() {
    Path recorded = run("recorded", untied, builder -> builder);
    assertSame(run("again", untied, builder -> builder.recompute(true)), recorded);
  }

  @Test
  void updatesAndMarkersOfLoraTooAreSplit() {
    UnaryOperator<Pretrainer.Builder> lora =
        builder -> builder.lora(LoraOptions.DEFAULT.withRank(3));
    for (Path model : List.of(tied, untied)) {
      Path whole = run(model.getParent().getFileName() + "1", model, lora);
      assertSame(
          run(
              model.getParent().getFileName() + "2",
              model,
              builder -> lora.apply(builder).microBatches(3).threads(2)),
          whole);
    }
  }

  @Test
  void theOtherRecipesAreSplitToo() {
    for (Recipe recipe : List.of(Recipe.LM)) {
      Path whole = run(recipe + "1", tied, builder -> builder.recipe(recipe));
      Path split =
          run(recipe + "2", tied, builder -> builder.recipe(recipe).microBatches(2).threads(2));
      Numbers.assertClose(TrainingRuns.weights(split), TrainingRuns.weights(whole), TOLERANCE);
      assertThat(TrainingRuns.values(TrainingRuns.metrics(whole), "self_loss")).containsOnlyNulls();
    }
    UnaryOperator<Pretrainer.Builder> paper =
        builder -> builder.recipe(Recipe.PAPER).weights(new LossWeights(0.5, 1, 2));
    assertSame(
        run("paper2", tied, builder -> paper.apply(builder).microBatches(2)),
        run("paper1", tied, paper));
  }

  @Test
  void anotherBatchWouldShow() {
    Path whole = run("1", tied, builder -> builder);
    Path other = run("seed", tied, builder -> builder.seed(8));
    double first = TrainingRuns.values(TrainingRuns.metrics(whole), "loss").get(0);
    assertThat(TrainingRuns.values(TrainingRuns.metrics(other), "loss").get(0))
        .isNotCloseTo(first, within(100 * TOLERANCE * first));
  }
}
