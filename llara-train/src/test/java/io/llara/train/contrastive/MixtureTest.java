package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.train.data.TrainingPair;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.TrainingRuns;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs on several files with weights, and with batches of one source. */
class MixtureTest {
  @TempDir Path dir;
  private Path model;
  private List<Path> files;

  @BeforeEach
  void prepare() throws Exception {
    NativeThreads.one();
    model = TrainingRuns.model(dir, true);
    files =
        List.of(
            Finetunings.data(Files.createDirectory(dir.resolve("a")), 12),
            Finetunings.data(Files.createDirectory(dir.resolve("b")), 5));
  }

  private ContrastiveTrainer.Builder builder(Path out) {
    return Finetunings.configured(ContrastiveTrainer.builder(model, files, out))
        .fileWeights(List.of(0.5, 2.0))
        .oneSourceBatches(true);
  }

  private List<String> origins(boolean oneSource, Optional<WorldSettings> world) {
    ContrastiveTrainer.Builder builder = builder(dir.resolve("none")).oneSourceBatches(oneSource);
    world.ifPresent(builder::world);
    ContrastiveTrainer.Options options = builder.build().options;
    List<String> origins = new ArrayList<>();
    try (BaseModel base = new BaseModel(options.run(), Finetunings.MAX_TOKENS);
        Examples<TrainingPair, PairExample> examples =
            new ContrastiveData(options, base).examples()) {
      for (int step = 0; step < 12; step++) {
        examples.nextBatch().forEach(example -> origins.add(example.origin()));
      }
    }
    return origins;
  }

  @Test
  void theOrderIsTheSameOnAnyNumberOfProcesses() {
    for (boolean oneSource : new boolean[] {true, false}) {
      List<String> alone = origins(oneSource, Optional.empty());
      List<String> first =
          origins(oneSource, Optional.of(new WorldSettings(0, 2, 0, "localhost", 1)));
      List<String> second =
          origins(oneSource, Optional.of(new WorldSettings(1, 2, 0, "localhost", 1)));
      List<String> together = new ArrayList<>();
      for (int i = 0; i < first.size(); i += 2) {
        together.addAll(first.subList(i, i + 2));
        together.addAll(second.subList(i, i + 2));
      }
      assertThat(together).isEqualTo(alone).hasSize(48);
      for (int i = 0; oneSource && i < alone.size(); i += 4) {
        assertThat(alone.subList(i, i + 4).stream().map(origin -> origin.split(":")[0]).distinct())
            .hasSize(1);
      }
      // Six of 16 a pass of the first file, ten of the second.
      assertThat(
              alone.stream().filter(origin -> origin.startsWith(files.get(0).toString())).count())
          .isBetween(14L, 22L);
    }
  }

  @Test
  void aRunGoesOnAsIfItHadNeverEnded() {
    Path unbroken = dir.resolve("unbroken");
    TrainingRuns.complete(builder(unbroken));
    Path out = dir.resolve("out");
    TrainingRuns.stopAfter(5, builder(out));
    assertThatThrownBy(() -> TrainingRuns.complete(builder(out).oneSourceBatches(false)))
        .hasMessageContaining("batches: was of one source, now not set");
    assertThatThrownBy(() -> TrainingRuns.complete(builder(out).fileWeights(List.of(1.0, 2.0))))
        .hasMessageContaining("weights of files: was [0.5, 2.0], now [1.0, 2.0]");
    TrainingRuns.complete(builder(out));
    assertThat(TrainingRuns.metrics(out)).isEqualTo(TrainingRuns.metrics(unbroken)).hasSize(9);
    TrainingRuns.assertSameWeights(out, unbroken);
  }

  @Test
  void wrongSettingsAreNamed() {
    Path out = dir.resolve("out");
    assertThatThrownBy(() -> builder(out).fileWeights(List.of(1.0)).build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("1 weights for 2 files");
    assertThatThrownBy(() -> builder(out).fileWeights(List.of(1.0, 0.0)).build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("must be more than 0");
    assertThatThrownBy(() -> builder(out).shuffleBuffer(1).build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("weights need a larger one");
    assertThatThrownBy(
            () -> builder(out).refresh(Refresh.every(3, Finetunings.byTheModel())).build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("refreshed negatives are one file");
  }
}
