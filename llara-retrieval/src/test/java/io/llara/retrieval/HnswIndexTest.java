package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.apache.lucene.analysis.core.KeywordAnalyzer;
import org.apache.lucene.document.Document;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.store.FSDirectory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HnswIndexTest {
  @TempDir private Path folder;

  @Test
  void findsNearlyAllOfTheBest() {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.clustered(4_000, 48, 40, 1));
    List<Query> queries = queries(RandomVectors.clustered(60, 48, 40, 2));
    List<Hits> exact = exact(queries, passages, 100);
    Path dir = folder.resolve("index");
    HnswIndex.build(dir, passages, HnswOptions.DEFAULT);
    try (HnswIndex index = HnswIndex.open(dir)) {
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
    Path dir = folder.resolve("index");
    HnswIndex.build(dir, passages, new HnswOptions(2, 2, 1));
    try (HnswIndex index = HnswIndex.open(dir)) {
      assertThat(index.recall(queries, exact, 10)).isLessThan(0.7);
    }
  }

  /** A graph of one segment, and one that was merged from several. */
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
      Path dir = folder.resolve("segments-of-" + segment);
      // As many candidates as vectors: nothing is missed.
      HnswIndex.build(dir, passages, new HnswOptions(8, 100, 600), segment);
      try (HnswIndex index = HnswIndex.open(dir)) {
        assertThat(index.search(queries, 1_000)).isEqualTo(exact);
        assertThat(index.recall(queries, exact, 600)).isEqualTo(1);
        Hits best = index.search(queries, 6).get(0);
        assertThat(best.indices()).isEqualTo(exact.get(0).indices().subArray(0, 6));
      }
    }
  }

  @Test
  void buildingAgainMakesTheSameGraph() {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.clustered(1_500, 16, 20, 7));
    List<Query> queries = queries(RandomVectors.clustered(40, 16, 20, 8));
    HnswOptions few = new HnswOptions(4, 10, 10);
    List<List<Hits>> found = new ArrayList<>();
    for (String name : List.of("a", "b")) {
      HnswIndex.build(folder.resolve(name), passages, few, 400);
      try (HnswIndex index = HnswIndex.open(folder.resolve(name))) {
        found.add(index.search(queries, 10));
      }
    }
    assertThat(found.get(1)).isEqualTo(found.get(0));
    // So few candidates miss some: what is equal is the graph, not just the truth.
    assertThat(found.get(0)).isNotEqualTo(exact(queries, passages, 10));
  }

  @Test
  void takesVectorsOfManyDimensions() {
    for (int dimension : new int[] {4_096, 8_192}) {
      InMemoryVectors passages = new InMemoryVectors(RandomVectors.normal(60, dimension, 9));
      List<Query> queries = queries(RandomVectors.normal(3, dimension, 10));
      Path dir = folder.resolve("index-" + dimension);
      HnswIndex.build(dir, passages, HnswOptions.DEFAULT);
      try (HnswIndex index = HnswIndex.open(dir)) {
        assertThat(index.dimension()).isEqualTo(dimension);
        assertThat(index.search(queries, 10)).isEqualTo(exact(queries, passages, 10));
      }
    }
    InMemoryVectors tooWide = new InMemoryVectors(List.of(new float[8_193]));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> HnswIndex.build(folder.resolve("x"), tooWide, HnswOptions.DEFAULT))
        .withMessageContaining("8193")
        .withMessageContaining("8192");
  }

  @Test
  void noVectorsAreAnIndexToo() {
    InMemoryVectors none = new InMemoryVectors(List.of());
    Path dir = folder.resolve("index");
    HnswIndex.build(dir, none, HnswOptions.DEFAULT);
    try (HnswIndex index = HnswIndex.open(dir)) {
      assertThat(index.count()).isZero();
      assertThat(index.search(new float[] {1, 2}, 3).size()).isZero();
    }
  }

  @Test
  void equalVectorsAreFoundInTheirOrder() {
    InMemoryVectors same =
        new InMemoryVectors(java.util.Collections.nCopies(50, new float[] {0.6f, 0.8f}));
    Path dir = folder.resolve("index");
    HnswIndex.build(dir, same, HnswOptions.DEFAULT);
    try (HnswIndex index = HnswIndex.open(dir)) {
      assertThat(index.search(new float[] {1, 1}, 20).indices().toArray())
          .containsExactly(LongStream.range(0, 20).toArray());
    }
  }

  @Test
  void whatFailsLeavesNothing() throws IOException {
    List<float[]> vectors = RandomVectors.normal(600, 4, 11);
    vectors.get(431)[2] = Float.NaN;
    Path dir = folder.resolve("index");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(
            () -> HnswIndex.build(dir, new InMemoryVectors(vectors), HnswOptions.DEFAULT, 100))
        .withMessage("vector 431: value 2 is NaN; expected finite ones");
    assertThat(names(folder)).isEmpty();
  }

  @Test
  void anInterruptLeavesNothing() throws IOException {
    InMemoryVectors vectors = new InMemoryVectors(RandomVectors.normal(600, 4, 12));
    VectorSet interrupting =
        new VectorSet() {
          @Override
          public long count() {
            return vectors.count();
          }

          @Override
          public int dimension() {
            return vectors.dimension();
          }

          @Override
          public void forEachBlock(int rows, BlockReceiver receiver) {
            vectors.forEachBlock(
                rows,
                (first, here, block) -> {
                  if (first > 0) {
                    Thread.currentThread().interrupt();
                  }
                  receiver.accept(first, here, block);
                });
          }
        };
    Path dir = folder.resolve("index");
    try {
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> HnswIndex.build(dir, interrupting, HnswOptions.DEFAULT, 100))
          .withMessageContaining("interrupted");
    } finally {
      assertThat(Thread.interrupted()).isTrue();
    }
    assertThat(names(folder)).isEmpty();
    HnswIndex.build(dir, vectors, HnswOptions.DEFAULT);
    HnswIndex.open(dir).close();
  }

  @Test
  void opensOnlyWhatWasBuilt() throws IOException {
    InMemoryVectors vectors = new InMemoryVectors(RandomVectors.normal(30, 4, 13));
    assertNotOpened(folder.resolve("nowhere"), "is not a folder");
    assertNotOpened(Files.createDirectory(folder.resolve("empty")), "holds no index");
    Path other = folder.resolve("other");
    try (FSDirectory directory = FSDirectory.open(other);
        IndexWriter writer =
            new IndexWriter(directory, new IndexWriterConfig(new KeywordAnalyzer()))) {
      writer.addDocument(new Document());
    }
    assertNotOpened(other, "llara.format");
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> HnswIndex.build(other, vectors, HnswOptions.DEFAULT))
        .withMessageContaining("not empty");

    Path dir = folder.resolve("index");
    HnswIndex.build(dir, vectors, HnswOptions.DEFAULT);
    for (String name : names(dir)) {
      byte[] content = Files.readAllBytes(dir.resolve(name));
      Files.write(dir.resolve(name), java.util.Arrays.copyOf(content, content.length / 2));
      assertNotOpened(dir, "index");
      Files.write(dir.resolve(name), content);
    }
    HnswIndex.open(dir).close();
  }

  @Test
  void wrongUseIsRefused() {
    InMemoryVectors vectors = new InMemoryVectors(RandomVectors.normal(30, 4, 14));
    Path dir = folder.resolve("index");
    HnswIndex.build(dir, vectors, HnswOptions.DEFAULT);
    HnswIndex index = HnswIndex.open(dir);
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
    assertThatIllegalArgumentException().isThrownBy(() -> new HnswOptions(1, 10, 10));
    assertThatIllegalArgumentException().isThrownBy(() -> new HnswOptions(16, 15, 10));
    assertThatIllegalArgumentException().isThrownBy(() -> new HnswOptions(16, 3_201, 10));
    assertThatIllegalArgumentException().isThrownBy(() -> new HnswOptions(16, 100, 0));
  }

  private static List<Query> queries(List<float[]> vectors) {
    return vectors.stream().map(Query::of).toList();
  }

  private static List<Hits> exact(List<Query> queries, VectorSet passages, int k) {
    try (ExactSearch search = new ExactSearch(passages, 1)) {
      return search.search(queries, k);
    }
  }

  private static void assertNotOpened(Path dir, String message) {
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> HnswIndex.open(dir))
        .withMessageContaining(dir.getFileName().toString())
        .withMessageContaining(message);
  }

  private static List<String> names(Path dir) throws IOException {
    try (Stream<Path> entries = Files.list(dir)) {
      return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
    }
  }
}
