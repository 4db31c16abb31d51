package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OneSourceBatchesTest {
  private static final int BATCH = 4;

  @TempDir Path dir;

  private Path file(String name, int texts) throws IOException {
    Path file = dir.resolve(name + ".jsonl");
    DataFiles.write(
        file,
        IntStream.range(0, texts)
            .mapToObj(i -> DataFiles.pair(name + " " + i, "self", "next"))
            .toArray(String[]::new));
    return file;
  }

  private Dataset<TrainingText> three() throws IOException {
    return DataFiles.texts(
        file("large", 40), file("small", 10), Files.createFile(dir.resolve("none.jsonl")));
  }

  private static OneSourceBatches<TrainingText> batches(Dataset<TrainingText> dataset) {
    return new OneSourceBatches<>(dataset, 64, 5, BATCH);
  }

  private static String source(List<TrainingText> batch) {
    Set<String> sources =
        batch.stream().map(text -> text.text().split(" ")[0]).collect(Collectors.toSet());
    assertThat(batch).hasSize(BATCH);
    assertThat(sources).hasSize(1);
    return sources.iterator().next();
  }

  @Test
  void eachBatchIsOfOneFileAndEachFileGetsItsShare() throws IOException {
    try (OneSourceBatches<TrainingText> batches = batches(three())) {
      long large = 0;
      Set<String> seen = new HashSet<>();
      for (int i = 1; i <= 50; i++) {
        List<TrainingText> batch = batches.nextBatch(BATCH);
        batch.forEach(text -> seen.add(text.text()));
        large += source(batch).equals("large") ? 1 : 0;
        // Four of five examples are.
        assertThat((double) large).isBetween(0.8 * i - 1, 0.8 * i + 1);
      }
      assertThat(large).isEqualTo(40);
      assertThat(seen).hasSize(50);
      assertThat(batches.position()).isEqualTo(50 * BATCH);
    }
  }

  /** 40 examples of one file are ten batches without a repetition. */
  @Test
  void aFileIsGoneThroughBeforeItBeginsAgain() throws IOException {
    try (OneSourceBatches<TrainingText> batches = batches(three())) {
      List<String> large = new ArrayList<>();
      while (large.size() < 40) {
        List<TrainingText> batch = batches.nextBatch(BATCH);
        if (source(batch).equals("large")) {
          batch.forEach(text -> large.add(text.text()));
        }
      }
      assertThat(large).doesNotHaveDuplicates();
      assertThat(large.subList(0, 8)).isNotEqualTo(large.stream().sorted().toList().subList(0, 8));
    }
  }

  @Test
  void weightsChangeTheShares() throws IOException {
    try (OneSourceBatches<TrainingText> batches =
        batches(three().weighted(List.of(0.5, 2.0, 1.0)))) {
      long large = 0;
      for (int i = 0; i < 40; i++) {
        large += source(batches.nextBatch(BATCH)).equals("large") ? 1 : 0;
      }
      assertThat(large).isEqualTo(20);
    }
  }

  @Test
  void skippingIsAsIfTheyHadBeenTaken() throws IOException {
    Dataset<TrainingText> dataset = three();
    for (int skipped : new int[] {0, 1, 7, 30, 100}) {
      try (OneSourceBatches<TrainingText> whole = batches(dataset);
          OneSourceBatches<TrainingText> resumed = batches(dataset)) {
        for (int i = 0; i < skipped; i++) {
          whole.nextBatch(BATCH);
        }
        resumed.skip((long) skipped * BATCH);
        assertThat(resumed.position()).isEqualTo(whole.position());
        for (int i = 0; i < 15; i++) {
          assertThat(resumed.nextBatch(BATCH)).isEqualTo(whole.nextBatch(BATCH));
        }
      }
    }
  }

  @Test
  void refusesWhatMakesNoBatches() throws IOException {
    Path few = file("few", 3);
    try (OneSourceBatches<TrainingText> batches =
        batches(DataFiles.texts(file("enough", 9), few))) {
      assertThatThrownBy(() -> batches.nextBatch(BATCH))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining(
              few + ": has 3 usable pairs, fewer than a batch of one source takes");
    }
    try (OneSourceBatches<TrainingText> batches = batches(three())) {
      assertThatThrownBy(() -> batches.nextBatch(3)).isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> batches.skip(6)).isInstanceOf(IllegalArgumentException.class);
    }
  }
}
