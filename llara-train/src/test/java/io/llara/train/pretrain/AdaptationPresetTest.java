package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.ComputeType;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.data.TrainingText;
import io.llara.train.preset.Preset;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.run.RunOptions;
import io.llara.train.testing.LlaraToy;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AdaptationPresetTest {
  @TempDir Path dir;

  /** One text a step in the order of the file, so that the steps can be compared one by one. */
  private Pretrainer.Builder builder(Path model) {
    return Preset.LLARA
        .pretrainer(model, LlaraToy.data("toy_pretrain_data.jsonl"), dir.resolve("out"))
        .batch(1)
        .epochs(5)
        .shuffleBuffer(1)
        .threads(1)
        .computeType(ComputeType.FLOAT32);
  }

  @Test
  void tenStepsHaveThePromptsAndTargetsOfTheReleasedCode() {
    LlaraToy toy = LlaraToy.stage("pretrain");
    Pretrainer.Options options = builder(LlaraToy.model(dir)).build().options;
    try (BaseModel base = new BaseModel(options.run(), options.texts().maxTokens());
        Examples<TrainingText, TextExample> examples =
            new AdaptationData(options, base).examples()) {
      for (int step = 0; step < LlaraToy.STEPS; step++) {
        TextExample example = examples.nextBatch().get(0);
        assertThat(Arrays.stream(example.prompt().ids()).asLongStream().boxed())
            .as("prompt of step %d", step + 1)
            .containsExactlyElementsOf(toy.step(step, "prompt"));
        assertThat(ids(example.self()))
            .as("SELF targets of step %d", step + 1)
            .containsExactlyElementsOf(toy.step(step, "self"));
        assertThat(ids(example.next()))
            .as("NEXT targets of step %d", step + 1)
            .containsExactlyElementsOf(toy.step(step, "next"));
      }
    }
  }

  private static List<Long> ids(Bag bag) {
    return IntStream.range(0, bag.size()).mapToLong(bag::id).boxed().toList();
  }

  @Test
  void tenStepsHaveTheLearningRatesOfTheReleasedCode() {
    List<Double> expected = LlaraToy.stage("pretrain").learningRates();
    Path model = LlaraToy.model(dir);

    assertThat(TrainingRuns.stopAfter(LlaraToy.STEPS, builder(model)).outcome())
        .isEqualTo(Outcome.STOPPED);

    List<Double> rates =
        TrainingRuns.values(TrainingRuns.metrics(dir.resolve("out")), "learning_rate");
    assertThat(rates).hasSameSizeAs(expected);
    for (int step = 0; step < rates.size(); step++) {
      assertThat(rates.get(step))
          .as("step %d", step + 1)
          .isEqualTo(expected.get(step), within(1e-18));
    }
  }

  @Test
  void theOtherSettingsAreThoseOfTheReleasedCommand() {
    RunOptions run =
        Preset.LLARA
            .pretrainer(Path.of("model"), List.of(Path.of("data")), Path.of("out"))
            .build()
            .options
            .run();

    assertThat(run.model().lora()).isEmpty();
    assertThat(run.data().batch()).isEqualTo(8);
    assertThat(run.optimization().epochs()).isEqualTo(1);
    assertThat(run.optimization().weightDecay()).isZero();
    assertThat(run.optimization().clip()).isEqualTo(1);
    assertThat(LongStream.of(1, 10, 11, 55).map(run.optimization().warmup()::of))
        .containsExactly(1L, 1L, 2L, 6L);
  }
}
