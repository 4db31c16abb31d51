package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.testing.ChildJvm;
import io.llara.testing.Leaks;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
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
    assertThat(cache.open(ENTRY)).isEmpty();
    store(cache, ENTRY, new float[] {1, 2, 3}, new float[] {-1, Float.MIN_VALUE, 0});
    try (StoredVectors stored = cache.open(ENTRY).orElseThrow()) {
      assertThat(stored.count()).isEqualTo(2);
      assertThat(stored.dimension()).isEqualTo(3);
      assertThat(read(stored, 5))
          .containsExactly(new float[] {1, 2, 3}, new float[] {-1, Float.MIN_VALUE, 0});
    }
  }

  @Test
  void handsOutBlocksOfAnySize() throws IOException {
    VectorCache cache = new VectorCache(folder);
    VectorCache.Entry entry = new VectorCache.Entry(VectorCache.key(List.of()), 7, 1);
    float[][] vectors = {{1}, {2}, {3}, {4}, {5}, {6}, {7}};
    store(cache, entry, vectors);
    try (StoredVectors stored = cache.open(entry).orElseThrow()) {
      for (int rows = 1; rows <= 8; rows++) {
        assertThat(read(stored, rows)).containsExactly(vectors);
        assertThat(read(new InMemoryVectors(Arrays.asList(vectors)), rows))
            .containsExactly(vectors);
      }
    }
  }

  @Test
  void aSetWithoutVectorsIsOneToo() throws IOException {
    VectorCache cache = new VectorCache(folder);
    VectorCache.Entry none = new VectorCache.Entry(VectorCache.key(List.of()), 0, 3);
    store(cache, none);
    try (StoredVectors stored = cache.open(none).orElseThrow()) {
      assertThat(read(stored, 4)).isEmpty();
    }
  }

  @Test
  void closingFreesTheMappingAndWaitsForReaders() throws Throwable {
    VectorCache cache = new VectorCache(folder);
    store(cache, ENTRY, new float[] {1, 2, 3}, new float[] {4, 5, 6});
    Leaks.assertNone(
        () -> {
          StoredVectors stored = cache.open(ENTRY).orElseThrow();
          stored.forEachBlock(
              2,
              (first, rows, block) ->
                  assertThatIllegalStateException()
                      .isThrownBy(stored::close)
                      .withMessageContaining("while they are read"));
          stored.close();
          stored.close();
          assertThatIllegalStateException().isThrownBy(() -> read(stored, 1));
        });
  }

  @Test
  void anIncompleteSetLeavesNothing() throws IOException {
    VectorCache cache = new VectorCache(folder);
    assertThatThrownBy(() -> store(cache, ENTRY, new float[] {1, 2, 3}))
        .isInstanceOf(IOException.class);
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).isEmpty();
    }
  }

  @Test
  void everyChangedByteIsNoticed() throws IOException {
    VectorCache cache = new VectorCache(folder);
    store(cache, ENTRY, new float[] {1, 2, 3}, new float[] {4, 5, 6});
    Path file = cache.file(ENTRY);
    byte[] good = Files.readAllBytes(file);
    for (int i = 0; i < good.length; i++) {
      byte[] bad = good.clone();
      bad[i] ^= 0x10;
      Files.write(file, bad);
      assertThatThrownBy(() -> cache.open(ENTRY)).isInstanceOf(IOException.class);
    }
    for (int length = 0; length < good.length; length += 7) {
      Files.write(file, Arrays.copyOf(good, length));
      assertThatThrownBy(() -> cache.open(ENTRY)).isInstanceOf(IOException.class);
    }
  }

  @Test
  void anInterruptIsNoDamage() throws IOException {
    VectorCache cache = new VectorCache(folder);
    Thread.currentThread().interrupt();
    try {
      store(cache, ENTRY, new float[] {1, 2, 3}, new float[] {4, 5, 6});
      try (StoredVectors stored = cache.open(ENTRY).orElseThrow()) {
        assertThat(read(stored, 2)).hasSize(2);
      }
    } finally {
      assertThat(Thread.interrupted()).isTrue();
    }
  }

  /** Vectors of twice the heap, written one by one and searched where they lie. */
  @Test
  void vectorsMayBeLargerThanTheHeap() throws Exception {
    assertThat(ChildJvm.run(List.of("-Xmx64m"), LargerThanTheHeap.class, folder.toString()))
        .contains("bytes: 134217728")
        .contains("found: 7 12345 65535");
  }

  /** Stores vectors, and searches for three of them. */
  static final class LargerThanTheHeap {
    private static final int COUNT = 1 << 16;
    private static final int DIMENSION = 512;

    private LargerThanTheHeap() {}

    public static void main(String[] args) throws IOException {
      VectorCache cache = new VectorCache(Path.of(args[0]));
      VectorCache.Entry entry =
          new VectorCache.Entry(VectorCache.key(List.of("large")), COUNT, DIMENSION);
      List<float[]> some = new ArrayList<>();
      Random random = new Random(1);
      try (VectorCache.Writer writer = cache.write(entry)) {
        for (int i = 0; i < COUNT; i++) {
          float[] vector = new float[DIMENSION];
          for (int j = 0; j < DIMENSION; j++) {
            vector[j] = random.nextFloat() - 0.5f;
          }
          writer.add(vector);
          if (i == 7 || i == 12_345 || i == COUNT - 1) {
            some.add(vector);
          }
        }
        writer.commit();
      }
      System.out.println("bytes: " + (long) COUNT * DIMENSION * Float.BYTES);
      try (StoredVectors stored = cache.open(entry).orElseThrow();
          ExactSearch search = new ExactSearch(stored, 2)) {
        System.out.print("found:");
        for (Hits hits : search.search(new InMemoryVectors(some), 10)) {
          System.out.print(" " + hits.indices().get(0));
        }
      }
    }
  }

  @Test
  void aFileUnderTheWrongNameIsNotUsed() throws IOException {
    VectorCache cache = new VectorCache(folder);
    store(cache, ENTRY, new float[] {1, 2, 3}, new float[] {4, 5, 6});
    VectorCache.Entry other = new VectorCache.Entry(VectorCache.key(List.of("ab")), 2, 3);
    assertThat(other.key()).isNotEqualTo(ENTRY.key());
    Files.move(cache.file(ENTRY), cache.file(other));
    assertThatThrownBy(() -> cache.open(other)).hasMessageContaining("header");
  }

  private static List<float[]> read(VectorSet vectors, int rows) {
    List<float[]> read = new ArrayList<>();
    vectors.forEachBlock(
        rows,
        (first, here, block) -> {
          assertThat(first).isEqualTo(read.size());
          assertThat(here).isBetween(1, rows);
          assertThat(block.isDirect()).isTrue();
          FloatBuffer values = block.duplicate();
          for (int i = 0; i < here; i++) {
            float[] vector = new float[vectors.dimension()];
            values.get(vector);
            read.add(vector);
          }
          assertThat(values.hasRemaining()).isFalse();
        });
    return read;
  }

  private static void store(VectorCache cache, VectorCache.Entry entry, float[]... vectors)
      throws IOException {
    try (VectorCache.Writer writer = cache.write(entry)) {
      for (float[] vector : vectors) {
        writer.add(vector);
      }
      writer.commit();
    }
  }
}
