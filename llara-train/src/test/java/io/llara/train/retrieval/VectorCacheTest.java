package io.llara.train.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class VectorCacheTest {
  private static final VectorCache.Entry ENTRY =
      new VectorCache.Entry(VectorCache.key(List.of("a", "b")), 2, 3);

  @TempDir private Path folder;

  @Test
  void givesBackWhatWasStored() throws IOException {
    VectorCache cache = new VectorCache(folder.resolve("made-when-needed"));
    assertThat(cache.read(ENTRY, (index, vector) -> {})).isEqualTo(VectorCache.Outcome.ABSENT);
    store(cache, new float[] {1, 2, 3}, new float[] {-1, Float.MIN_VALUE, 0});
    List<float[]> read = new ArrayList<>();
    assertThat(cache.read(ENTRY, (index, vector) -> read.add(vector.clone())))
        .isEqualTo(VectorCache.Outcome.FOUND);
    assertThat(read).containsExactly(new float[] {1, 2, 3}, new float[] {-1, Float.MIN_VALUE, 0});
  }

  @Test
  void anIncompleteSetLeavesNothing() throws IOException {
    VectorCache cache = new VectorCache(folder);
    assertThatThrownBy(() -> store(cache, new float[] {1, 2, 3})).isInstanceOf(IOException.class);
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).isEmpty();
    }
  }

  @Test
  void everyChangedByteIsNoticed() throws IOException {
    VectorCache cache = new VectorCache(folder);
    store(cache, new float[] {1, 2, 3}, new float[] {4, 5, 6});
    Path file = cache.file(ENTRY);
    byte[] good = Files.readAllBytes(file);
    for (int i = 0; i < good.length; i++) {
      byte[] bad = good.clone();
      bad[i] ^= 0x10;
      Files.write(file, bad);
      assertThat(cache.read(ENTRY, (index, vector) -> {})).isEqualTo(VectorCache.Outcome.DAMAGED);
    }
  }

  @Test
  void aFileUnderTheWrongNameIsNotUsed() throws IOException {
    VectorCache cache = new VectorCache(folder);
    store(cache, new float[] {1, 2, 3}, new float[] {4, 5, 6});
    VectorCache.Entry other = new VectorCache.Entry(VectorCache.key(List.of("ab")), 2, 3);
    assertThat(other.key()).isNotEqualTo(ENTRY.key());
    Files.move(cache.file(ENTRY), cache.file(other));
    assertThat(cache.read(other, (index, vector) -> {})).isEqualTo(VectorCache.Outcome.DAMAGED);
  }

  private static void store(VectorCache cache, float[]... vectors) throws IOException {
    try (VectorCache.Writer writer = cache.write(ENTRY)) {
      for (float[] vector : vectors) {
        writer.add(vector);
      }
      writer.commit();
    }
  }
}
