package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.testing.Directories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ShuffleBufferTest {
  @TempDir Path dir;

  private Dataset<TrainingText> source(int texts) throws IOException {
    return source(dir, texts);
  }

  private static Dataset<TrainingText> source(Path dir, int texts) throws IOException {
    return DataFiles.texts(DataFiles.pairs(dir.resolve("a.jsonl"), texts));
  }

  private static List<String> take(ShuffleBuffer<TrainingText> texts, int count) {
    List<String> taken = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      taken.add(texts.next().text());
    }
    return taken;
  }

  @Test
  void everyPassHandsOutEachTextOnceInAnotherOrder() throws IOException {
    List<String> inOrder = DataFiles.texts(DataFiles.readAll(source(100)));
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source(100), 30, 5)) {
      List<String> first = take(texts, 100);
      assertThat(texts.epoch()).isEqualTo(1);
      List<String> second = take(texts, 100);

      assertThat(first).containsExactlyInAnyOrderElementsOf(inOrder).isNotEqualTo(inOrder);
      assertThat(second).containsExactlyInAnyOrderElementsOf(inOrder).isNotEqualTo(first);
      assertThat(texts.position()).isEqualTo(200);
      assertThat(texts.hasNext()).isTrue();
    }
  }

  @Test
  void orderIsThatOfTheSeed() throws IOException {
    try (ShuffleBuffer<TrainingText> a = new ShuffleBuffer<>(source(50), 20, 5);
        ShuffleBuffer<TrainingText> b = new ShuffleBuffer<>(source(50), 20, 5);
        ShuffleBuffer<TrainingText> c = new ShuffleBuffer<>(source(50), 20, 6)) {
      List<String> first = take(a, 120);
      assertThat(take(b, 120)).isEqualTo(first);
      assertThat(take(c, 120)).isNotEqualTo(first);
    }
  }

  /** A change here breaks the resuming of runs that an earlier version began. */
  @Test
  void orderStaysAsItIs() throws IOException {
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source(10), 4, 1)) {
      assertThat(take(texts, 12).stream().map(text -> text.replace("text ", "")))
          .containsExactly("9", "6", "0", "2", "5", "4", "1", "8", "3", "7", "0", "2");
    }
  }

  @Test
  void aBufferOfOneKeepsTheOrder() throws IOException {
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source(10), 1, 5)) {
      assertThat(take(texts, 10)).isEqualTo(DataFiles.texts(DataFiles.readAll(source(10))));
    }
  }

  /** Sorted by source: a buffer smaller than the first source once saw nothing else. */
  @Test
  void sortedFilesAreDrawnFromEvenly() throws IOException {
    Path empty = Files.createFile(dir.resolve("empty.jsonl"));
    Dataset<TrainingText> sorted =
        DataFiles.texts(
            empty,
            DataFiles.pairs(dir.resolve("a.jsonl"), 3000),
            empty,
            DataFiles.pairs(dir.resolve("b.jsonl.gz"), 1000));
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(sorted, 10, 5)) {
      for (int part = 0; part < 10; part++) {
        List<String> drawn = take(texts, 400);
        // Texts 0 to 999 are in both files, 1000 to 2999 in one: half of all lines have each kind.
        long low = drawn.stream().filter(text -> text.length() <= "text 999".length()).count();
        // The standard deviation is 10.
        assertThat(low).isBetween(150L, 250L);
      }
      assertThat(texts.epoch()).isEqualTo(1);
    }
  }

  @Test
  void unpackedFilesAreDeletedAndErrorsNameTheirLine() throws IOException {
    Path file = dir.resolve("a.jsonl.gz");
    DataFiles.write(file, DataFiles.pair("one", "self", "next"), "{}", "{");
    Set<Path> before = unpacked();
    ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(DataFiles.texts(file), 4, 5);
    assertThatThrownBy(texts::next)
        .isInstanceOf(LlaraException.class)
        .message()
        .matches(".*a\\.jsonl\\.gz:[23]: .*");
    assertThat(unpacked()).hasSize(before.size() + 1);
    texts.close();
    assertThat(unpacked()).isEqualTo(before);

    Files.write(file, Arrays.copyOf(Files.readAllBytes(file), 30));
    ShuffleBuffer<TrainingText> cut = new ShuffleBuffer<>(DataFiles.texts(file), 4, 5);
    assertThatThrownBy(cut::next).hasMessageContaining("its gzip data ends too early");
  }

  private static Set<Path> unpacked() throws IOException {
    try (Stream<Path> all = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
      return all.filter(path -> path.getFileName().toString().startsWith("llara-lines-"))
          .collect(Collectors.toSet());
    }
  }

  @Test
  void aFileThatShrinksIsNamed() throws IOException {
    Path file = DataFiles.pairs(dir.resolve("a.jsonl"), 10);
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(DataFiles.texts(file), 2, 5)) {
      texts.next();
      Files.write(file, new byte[0]);
      assertThatThrownBy(() -> take(texts, 9))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining(file + ": it had a line");
    }
  }

  @Test
  void neighboursAreSpreadOverTheBuffer() throws IOException {
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source(1000), 500, 5)) {
      List<String> order = take(texts, 1000);
      int together = 0;
      for (int i = 0; i < 999; i++) {
        int distance = Math.abs(order.indexOf("text " + i) - order.indexOf("text " + (i + 1)));
        together += distance < 16 ? 1 : 0;
      }
      // At random about 6 in 100 of neighbours would be so close.
      assertThat(together).isLessThan(120);
    }
  }

  @Test
  void batchesGoOnAcrossPasses() throws IOException {
    try (ShuffleBuffer<TrainingText> batches = new ShuffleBuffer<>(source(10), 4, 5);
        ShuffleBuffer<TrainingText> single = new ShuffleBuffer<>(source(10), 4, 5)) {
      for (int i = 0; i < 5; i++) {
        List<TrainingText> batch = batches.nextBatch(7);
        assertThat(DataFiles.texts(batch)).hasSize(7).isEqualTo(take(single, 7));
      }
      assertThat(batches.epoch()).isEqualTo(3);
      assertThatThrownBy(() -> batches.nextBatch(0)).isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void weightsSayHowOftenALineIsDrawn() throws IOException {
    Dataset<TrainingText> files =
        DataFiles.texts(write("once", 6), write("twice", 4), write("half", 7), write("seldom", 3))
            .weighted(List.of(1.0, 2.0, 0.5, 0.25));
    assertThat(files.examplesPerEpoch()).isEqualTo(Math.round(6 + 8 + 3.5 + 0.75));
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(files, 5, 3)) {
      Map<String, Integer> drawn = new HashMap<>();
      for (int epochs = 1; epochs <= 8; epochs++) {
        Map<String, Integer> inEpoch = new HashMap<>();
        while (texts.epoch() < epochs) {
          inEpoch.merge(texts.next().text(), 1, Integer::sum);
        }
        inEpoch.forEach((text, times) -> drawn.merge(text, times, Integer::sum));
        for (int i = 0; i < 4; i++) {
          assertThat(inEpoch).containsEntry("twice " + i, 2);
        }
        for (int i = 0; i < 7; i++) {
          assertThat(drawn.getOrDefault("half " + i, 0)).isBetween(epochs / 2, (epochs + 1) / 2);
        }
      }
      for (int i = 0; i < 3; i++) {
        assertThat(drawn).containsEntry("seldom " + i, 2);
      }
      assertThat(drawn).containsEntry("once 5", 8).containsEntry("half 6", 4).hasSize(20);
    }
  }

  private Path write(String name, int texts) throws IOException {
    Path file = dir.resolve(name + ".jsonl");
    DataFiles.write(
        file,
        IntStream.range(0, texts)
            .mapToObj(i -> DataFiles.pair(name + " " + i, "self", "next"))
            .toArray(String[]::new));
    return file;
  }

  @Property(tries = 50)
  void skippingWithWeightsIsAsIfTheyHadBeenTaken(
      @ForAll @IntRange(min = 1, max = 8) int quarters, @ForAll @IntRange(max = 90) int skipped)
      throws IOException {
    Path own = Directories.temporary();
    Dataset<TrainingText> files =
        DataFiles.texts(
                DataFiles.pairs(own.resolve("a.jsonl"), 6),
                DataFiles.pairs(own.resolve("b.jsonl"), 5))
            .weighted(List.of(1.0, quarters / 4.0));
    try (ShuffleBuffer<TrainingText> whole = new ShuffleBuffer<>(files, 4, 9);
        ShuffleBuffer<TrainingText> resumed = new ShuffleBuffer<>(files, 4, 9)) {
      take(whole, skipped);
      resumed.skip(skipped);
      assertThat(resumed.epoch()).isEqualTo(whole.epoch());
      assertThat(take(resumed, 25)).isEqualTo(take(whole, 25));
    } finally {
      Directories.delete(own);
    }
  }

  @Test
  void weightsAreChecked() throws IOException {
    Dataset<TrainingText> source = source(3);
    assertThatThrownBy(() -> source.weighted(List.of(1.0, 2.0)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("2 weights for 1 files; expected one for each");
    for (double wrong : new double[] {0, -1, Double.NaN, 1001}) {
      assertThatThrownBy(() -> source.weighted(List.of(wrong)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("the weight of a file is " + wrong);
    }
    assertThatThrownBy(() -> new ShuffleBuffer<>(source.weighted(List.of(2.0)), 1, 1))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void endsAfterTheLastPass() throws IOException {
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source(10), 4, 5, 2)) {
      assertThat(texts.nextBatch(16)).hasSize(16);
      assertThat(texts.nextBatch(16)).hasSize(4);
      assertThat(texts.nextBatch(16)).isEmpty();
      assertThat(texts.hasNext()).isFalse();
      assertThatThrownBy(texts::next).isInstanceOf(NoSuchElementException.class);
    }
  }

  @Property(tries = 100)
  void skippingIsAsIfTheyHadBeenTaken(
      @ForAll @IntRange(min = 1, max = 25) int size,
      @ForAll @IntRange(min = 1, max = 30) int buffer,
      @ForAll @IntRange(max = 120) int before,
      @ForAll @IntRange(max = 120) int skipped,
      @ForAll long seed)
      throws IOException {
    Path own = Directories.temporary();
    try (ShuffleBuffer<TrainingText> whole = new ShuffleBuffer<>(source(own, size), buffer, seed);
        ShuffleBuffer<TrainingText> resumed =
            new ShuffleBuffer<>(source(own, size), buffer, seed)) {
      take(whole, before + skipped);
      take(resumed, before);
      resumed.skip(skipped);

      assertThat(resumed.position()).isEqualTo(whole.position());
      assertThat(resumed.epoch()).isEqualTo(whole.epoch());
      assertThat(take(resumed, 2 * size + 3)).isEqualTo(take(whole, 2 * size + 3));
    } finally {
      Directories.delete(own);
    }
  }

  @Test
  void jumpsOverWholePasses() throws IOException {
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source(10), 4, 5)) {
      texts.skip(10_000_000_000_003L);
      assertThat(texts.position()).isEqualTo(10_000_000_000_003L);
      assertThat(texts.epoch()).isEqualTo(1_000_000_000_000L);
      texts.skip(0);
      assertThat(texts.nextBatch(7)).hasSize(7);
    }
  }

  @Test
  void skippingBeyondTheEndIsRefused() throws IOException {
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source(10), 4, 5, 3)) {
      texts.skip(30);
      assertThat(texts.hasNext()).isFalse();
      assertThatThrownBy(() -> texts.skip(1))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("have only 30");
      assertThatThrownBy(() -> texts.skip(-1)).isInstanceOf(IllegalArgumentException.class);
    }
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source(10), 4, 5, 3)) {
      assertThatThrownBy(() -> texts.skip(31)).isInstanceOf(LlaraException.class);
    }
  }

  @Test
  void aSourceWithoutTextsIsAnErrorAndNoEndlessLoop() throws IOException {
    Path file = Files.createFile(dir.resolve("empty.jsonl"));
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(DataFiles.texts(file), 4, 5)) {
      assertThatThrownBy(texts::next)
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining(file + ": no usable pair");
    }
  }

  @Test
  void refusesBadArgumentsAndUseAfterClose() throws IOException {
    Dataset<TrainingText> source = source(3);
    assertThatThrownBy(() -> new ShuffleBuffer<>(source, 0, 1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new ShuffleBuffer<>(source, 1, 1, 0))
        .isInstanceOf(IllegalArgumentException.class);
    ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(source, 2, 1);
    texts.next();
    texts.close();
    texts.close();
    assertThatThrownBy(texts::next)
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
    assertThatThrownBy(() -> texts.skip(1)).isInstanceOf(IllegalStateException.class);
  }
}
