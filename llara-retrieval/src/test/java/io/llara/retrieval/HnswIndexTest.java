package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.llara.LlaraException;
import io.llara.testing.Leaks;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class HnswIndexTest {
  @TempDir private Path folder;

  private final List<String> notes = new ArrayList<>();

  @Test
  void findsNearlyAllOfTheBest() {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.clustered(4_000, 48, 40, 1));
    List<Query> queries = queries(RandomVectors.clustered(60, 48, 40, 2));
    List<Hits> exact = exact(queries, passages, 100);
    try (StoredVectors stored = store("index", passages);
        HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT)) {
      assertThat(index.count()).isEqualTo(4_000);
      assertThat(index.dimension()).isEqualTo(48);
      assertThat(index.options()).isEqualTo(HnswOptions.DEFAULT);
      assertThat(index.recall(queries, exact, 100)).isBetween(0.95, 1.0);
      assertThat(index.recall(queries, exact, 10)).isBetween(0.99, 1.0);
    }
  }

  /** What is looked at decides what is found: the number is no constant. */
  @Test
  void aPoorGraphHasAPoorRecall() {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.normal(2_000, 40, 3));
    List<Query> queries = queries(RandomVectors.normal(30, 40, 4));
    List<Hits> exact = exact(queries, passages, 10);
    try (StoredVectors stored = store("index", passages);
        HnswIndex index = HnswIndex.open(stored, new HnswOptions(2, 2, 1))) {
      assertThat(index.recall(queries, exact, 10)).isLessThan(0.7);
    }
  }

  /** One graph, and several. */
  @Test
  void scoresAndOrderAreThoseOfExactSearch() {
    // Not of length 1, with every vector twice.
    List<float[]> once = RandomVectors.normal(300, 12, 5);
    List<float[]> twice = new ArrayList<>(once);
    twice.addAll(once);
    InMemoryVectors passages = new InMemoryVectors(twice);
    List<Query> queries = queries(RandomVectors.normal(20, 12, 6));
    List<Hits> exact = exact(queries, passages, 600);
    for (int segment : new int[] {1_000, 70}) {
      // As many candidates as vectors: nothing is missed.
      HnswOptions all = new HnswOptions(8, 100, 600);
      try (StoredVectors stored = store("segments-of-" + segment, passages);
          HnswIndex index = HnswIndex.open(stored, all, 2, segment, notes::add)) {
        assertThat(index.search(queries, 1_000)).isEqualTo(exact);
        // One query alone is looked for in all segments at once, or one after another.
        assertThat(index.search(queries.get(3), 1_000)).isEqualTo(exact.get(3));
        assertThat(index.search(queries.get(3).requireVector(), 1_000)).isEqualTo(exact.get(3));
        assertThat(index.recall(queries, exact, 600)).isEqualTo(1);
        Hits best = index.search(queries, 6).get(0);
        assertThat(best.indices()).isEqualTo(exact.get(0).indices().subArray(0, 6));
      }
    }
  }

  @Test
  void anyNumberOfThreadsBuildsTheSameGraphs() throws IOException {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.clustered(1_500, 16, 20, 7));
    List<Query> queries = queries(RandomVectors.clustered(40, 16, 20, 8));
    HnswOptions few = new HnswOptions(4, 10, 10);
    List<List<Hits>> found = new ArrayList<>();
    for (int threads : new int[] {1, 3}) {
      try (StoredVectors stored = store("of-" + threads, passages);
          HnswIndex index = HnswIndex.open(stored, few, threads, 400, notes::add)) {
        found.add(index.search(queries, 10));
      }
    }
    assertThat(found.get(1)).isEqualTo(found.get(0));
    // So few candidates miss some: what is equal is the graph, not just the truth.
    assertThat(found.get(0)).isNotEqualTo(exact(queries, passages, 10));
    for (int i = 0; i < 4; i++) {
      assertThat(folder.resolve("of-3.m4-ef10.hnsw/segment-0000" + i))
          .hasSameBinaryContentAs(folder.resolve("of-1.m4-ef10.hnsw/segment-0000" + i));
    }
  }

  @Test
  void graphsAreKeptBesideTheirVectorsAndBuiltAgainForOthers() throws IOException {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.clustered(900, 16, 20, 7));
    Path first = folder.resolve("index.m16-ef200.hnsw/segment-00000");
    try (StoredVectors stored = store("index", passages)) {
      HnswIndex.open(stored, HnswOptions.DEFAULT).close();
      Object built = Files.getLastModifiedTime(first);
      // How much is looked at decides nothing about the graph.
      HnswIndex.open(stored, new HnswOptions(16, 200, 50)).close();
      assertThat(Files.getLastModifiedTime(first)).isEqualTo(built);
      HnswIndex.open(stored, new HnswOptions(8, 100, 50)).close();
      assertThat(names(folder))
          .containsExactly("index", "index.m16-ef200.hnsw", "index.m8-ef100.hnsw");
    }
    byte[] good = Files.readAllBytes(first);
    InMemoryVectors others = new InMemoryVectors(RandomVectors.clustered(900, 16, 20, 8));
    List<Query> queries = queries(RandomVectors.clustered(10, 16, 20, 9));
    try (StoredVectors stored = store("index", others);
        HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT, 1, notes::add)) {
      assertThat(notes).hasSize(1);
      assertThat(notes.get(0))
          .contains("will be built again", "segment-00000", "it is a graph of other vectors");
      assertThat(index.search(queries, 100)).isEqualTo(exact(queries, others, 100));
    }
    notes.clear();
    try (StoredVectors stored = store("index", passages)) {
      for (byte[] bad : List.of(Arrays.copyOf(good, 5_000), new byte[0])) {
        Files.write(first, bad);
        HnswIndex.open(stored, HnswOptions.DEFAULT, 1, notes::add).close();
        assertThat(first).hasBinaryContent(good);
      }
      assertThat(notes).hasSize(2);
    }
  }

  @Test
  void aDamagedGraphIsNoticedWhenItIsRead() throws IOException {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.clustered(900, 16, 20, 7));
    try (StoredVectors stored = store("index", passages)) {
      HnswIndex.open(stored, HnswOptions.DEFAULT).close();
      Path first = folder.resolve("index.m16-ef200.hnsw/segment-00000");
      byte[] bytes = Files.readAllBytes(first);
      bytes[5_000] ^= 1;
      Files.write(first, bytes);
      try (HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT)) {
        assertThatExceptionOfType(LlaraException.class)
            .isThrownBy(() -> index.search(new float[16], 10))
            .withMessageContaining("segment-00000: is damaged: the checksum of block 0");
      }
    }
  }

  @Test
  void whereNoGraphsCanBeKeptATemporaryFolderDoes() throws IOException {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.normal(100, 8, 7));
    try (StoredVectors stored = store("index", passages)) {
      // In its way, a file that is no graph and no folder.
      Files.writeString(HnswIndex.beside(folder.resolve("index"), HnswOptions.DEFAULT), "");
      Files.setPosixFilePermissions(
          folder, java.nio.file.attribute.PosixFilePermissions.fromString("r-xr-xr-x"));
      try (HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT, 1, notes::add)) {
        assertThat(index.search(new float[8], 100).size()).isEqualTo(100);
      } finally {
        Files.setPosixFilePermissions(
            folder, java.nio.file.attribute.PosixFilePermissions.fromString("rwxr-xr-x"));
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void walksVectorsOfAnyStorage(VectorStorage storage) {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.clustered(2_000, 48, 40, 1));
    List<Query> queries = queries(RandomVectors.clustered(30, 48, 40, 2));
    Path file = folder.resolve("a.vectors");
    StoredVectors.write(file, passages, storage);
    try (StoredVectors stored = StoredVectors.open(file);
        HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT, 2, 900, notes::add)) {
      assertThat(index.recall(queries, exact(queries, stored, 100), 100)).isBetween(0.97, 1.0);
    }
  }

  @Test
  void takesVectorsOfManyDimensions() {
    for (int dimension : new int[] {4_096, 8_192}) {
      InMemoryVectors passages = new InMemoryVectors(RandomVectors.normal(60, dimension, 9));
      List<Query> queries = queries(RandomVectors.normal(3, dimension, 10));
      try (StoredVectors stored = store("index-" + dimension, passages);
          HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT)) {
        assertThat(index.dimension()).isEqualTo(dimension);
        assertThat(index.search(queries, 10)).isEqualTo(exact(queries, passages, 10));
      }
    }
  }

  @Test
  void noVectorsAreAnIndexToo() {
    InMemoryVectors none = new InMemoryVectors(List.of());
    try (StoredVectors stored = store("index", none);
        HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT)) {
      assertThat(index.count()).isZero();
      assertThat(index.search(new float[] {1, 2}, 3).size()).isZero();
    }
  }

  @Test
  void equalVectorsAreFoundInTheirOrder() {
    InMemoryVectors same =
        new InMemoryVectors(java.util.Collections.nCopies(50, new float[] {0.6f, 0.8f}));
    try (StoredVectors stored = store("index", same);
        HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT)) {
      assertThat(index.search(new float[] {1, 1}, 20).indices().toArray())
          .containsExactly(LongStream.range(0, 20).toArray());
    }
  }

  @Test
  void whatFailsLeavesNothing() throws IOException {
    List<float[]> vectors = RandomVectors.normal(600, 4, 11);
    vectors.get(431)[2] = Float.NaN;
    try (StoredVectors stored = store("index", new InMemoryVectors(vectors))) {
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> HnswIndex.open(stored, HnswOptions.DEFAULT, 2, 100, notes::add))
          .withMessage("vector 431 of the passages: value 2 is NaN; expected finite ones");
    }
    assertThat(names(folder)).containsExactly("index");
  }

  @Test
  void anInterruptEndsTheBuildingAndLeavesNothing() throws Exception {
    // Minutes of work.
    InMemoryVectors vectors = new InMemoryVectors(RandomVectors.normal(60_000, 64, 12));
    try (StoredVectors stored = store("index", vectors)) {
      AtomicReference<Throwable> failure = new AtomicReference<>();
      Thread builder =
          new Thread(
              () -> {
                try {
                  HnswIndex.open(stored, HnswOptions.DEFAULT, 1, 60_000, notes::add).close();
                } catch (LlaraException e) {
                  failure.set(e);
                }
              });
      builder.start();
      Thread.sleep(300);
      builder.interrupt();
      builder.join(20_000);
      assertThat(builder.isAlive()).isFalse();
      assertThat(failure.get()).hasMessage("interrupted while graphs were built");
    }
    assertThat(names(folder)).containsExactly("index");
  }

  @Test
  void wrongUseIsRefused() {
    InMemoryVectors vectors = new InMemoryVectors(RandomVectors.normal(30, 4, 14));
    StoredVectors stored = store("index", vectors);
    HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT);
    float[] query = {1, 2, 3, 4};
    assertThatIllegalArgumentException().isThrownBy(() -> index.search(query, 0));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> index.search(new float[3], 1))
        .withMessage("the query has the dimension 3, the index 4");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> index.search(new float[] {1, 2, Float.NaN, 4}, 1))
        .withMessageContaining("value 2 is NaN");
    List<Query> one = List.of(Query.of(query));
    List<Query> many = queries(RandomVectors.normal(30, 4, 14));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> index.recall(one, exact(one, vectors, 9), 10))
        .withMessageContaining("9 exact hits");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> index.recall(many, exact(one, vectors, 9), 9))
        .withMessageContaining("1 of 30 queries");
    index.close();
    index.close();
    assertThatIllegalStateException().isThrownBy(() -> index.search(query, 1));
    assertThatIllegalStateException().isThrownBy(() -> index.search(one, 1));
    stored.close();
    assertThatIllegalArgumentException().isThrownBy(() -> new HnswOptions(1, 10, 10));
    assertThatIllegalArgumentException().isThrownBy(() -> new HnswOptions(16, 15, 10));
    assertThatIllegalArgumentException().isThrownBy(() -> new HnswOptions(16, 3_201, 10));
    assertThatIllegalArgumentException().isThrownBy(() -> new HnswOptions(16, 100, 0));
  }

  @Test
  void nothingNativeIsLeft() throws Throwable {
    InMemoryVectors vectors = new InMemoryVectors(RandomVectors.normal(300, 8, 14));
    Leaks.assertNone(
        () -> {
          StoredVectors.write(folder.resolve("a"), vectors, VectorStorage.INT8);
          try (StoredVectors stored = StoredVectors.open(folder.resolve("a"));
              HnswIndex index = HnswIndex.open(stored, HnswOptions.DEFAULT)) {
            index.search(new float[8], 10);
          }
        });
  }

  private StoredVectors store(String name, VectorSet vectors) {
    StoredVectors.write(folder.resolve(name), vectors, VectorStorage.FLOAT32);
    return StoredVectors.open(folder.resolve(name));
  }

  private static List<Query> queries(List<float[]> vectors) {
    return vectors.stream().map(Query::of).toList();
  }

  private static List<Hits> exact(List<Query> queries, VectorSet passages, int k) {
    try (ExactSearch search = new ExactSearch(passages, 1)) {
      return search.search(queries, k);
    }
  }

  private static List<String> names(Path dir) throws IOException {
    try (Stream<Path> entries = Files.list(dir)) {
      return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
    }
  }
}
