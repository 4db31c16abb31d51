package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.ComputeType;
import io.llara.prompt.Prompt;
import io.llara.train.TrainingResult.Outcome;
import io.llara.train.data.TrainingPair;
import io.llara.train.lora.LoraOptions;
import io.llara.train.preset.Preset;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.testing.LlaraToy;
import io.llara.train.testing.TrainingRuns;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FinetuningPresetTest {
  @TempDir Path dir;

  /** One query a step in the order of the file, so that the steps can be compared one by one. */
  private ContrastiveTrainer.Builder builder(Path model) {
    return Preset.LLARA
        .contrastiveTrainer(model, LlaraToy.data("toy_finetune_data.jsonl"), dir.resolve("out"))
        .batch(1)
        .epochs(5)
        .shuffleBuffer(1)
        .threads(1)
        .computeType(ComputeType.FLOAT32);
  }

  @Test
  void tenStepsHaveThePromptsOfTheReleasedCode() {
    LlaraToy toy = LlaraToy.stage("finetune");
    ContrastiveTrainer.Options options = builder(LlaraToy.model(dir)).build().options;
    try (BaseModel base = new BaseModel(options.run(), options.prompts().passageMaxTokens());
        Examples<TrainingPair, PairExample> examples =
            new ContrastiveData(options, base).examples()) {
      for (int step = 0; step < LlaraToy.STEPS; step++) {
        PairExample example = examples.nextBatch().get(0);
        assertThat(Arrays.stream(example.query().ids()).asLongStream().boxed())
            .as("query of step %d", step + 1)
            .containsExactlyElementsOf(toy.step(step, "query"));
        List<Long> passages =
            example.passages().stream().map(FinetuningPresetTest::checksum).toList();
        assertThat(passages).hasSize(16).doesNotHaveDuplicates();
        assertThat(passages.get(0)).isIn(toy.step(step, "positives"));
        // Which ones are drawn is chance, there as here.
        assertThat(toy.step(step, "negatives")).containsAll(passages.subList(1, 16));
      }
    }
  }

  private static long checksum(Prompt prompt) {
    String ids =
        Arrays.stream(prompt.ids()).mapToObj(String::valueOf).collect(Collectors.joining(" "));
    CRC32 crc = new CRC32();
    crc.update(ids.getBytes(StandardCharsets.US_ASCII));
    return crc.getValue();
  }

  @Test
  void tenStepsHaveTheLearningRatesOfTheReleasedCode() {
    List<Double> expected = LlaraToy.stage("finetune").learningRates();

    assertThat(
            TrainingRuns.stopAfter(LlaraToy.STEPS, builder(LlaraToy.model(dir)).negatives(1))
                .outcome())
        .isEqualTo(Outcome.STOPPED);

    List<Double> rates =
        TrainingRuns.values(TrainingRuns.metrics(dir.resolve("out")), "learning_rate");
    assertThat(rates).hasSameSizeAs(expected);
    for (int step = 0; step < rates.size(); step++) {
      assertThat(rates.get(step))
          .as("step %d", step + 1)
          .isEqualTo(expected.get(step), within(1e-16));
    }
  }

  @Test
  void theOtherSettingsAreThoseOfTheReleasedCommand() {
    ContrastiveTrainer.Options options =
        Preset.LLARA
            .contrastiveTrainer(Path.of("model"), List.of(Path.of("pairs")), Path.of("out"))
            .build()
            .options;

    assertThat(options.run().model().lora())
        .contains(new LoraOptions(64, 16, 0.1, LoraOptions.ALL_TARGETS));
    assertThat(options.run().data().batch()).isEqualTo(8);
    assertThat(options.loss()).isEqualTo(ContrastiveLoss.of(new InfoNce(0.01, true)));
    assertThat(options.groups().negatives()).isEqualTo(15);
    assertThat(options.prompts().queryMaxTokens()).isEqualTo(64);
    assertThat(options.prompts().passageMaxTokens()).isEqualTo(160);
  }
}
