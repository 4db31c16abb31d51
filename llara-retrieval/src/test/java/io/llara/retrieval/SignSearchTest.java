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
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SignSearchTest {
  private static final int DIMENSION = 100;

  @TempDir private Path folder;
  private final List<String> notes = new ArrayList<>();

  private StoredVectors store(List<float[]> vectors, VectorStorage storage) {
    Path file = folder.resolve("a.vectors");
    StoredVectors.write(file, new InMemoryVectors(vectors), storage);
    return StoredVectors.open(file);
  }

  private SignSearch open(StoredVectors vectors, int oversampling) {
    return SignSearch.open(vectors, oversampling, 2, notes::add);
  }

  private static List<Query> queries(int count) {
    return RandomVectors.clustered(count, DIMENSION, 20, 2).stream().map(Query::of).toList();
  }

  /** The nearest by Hamming distance, found by sorting; then the best of them by inner product. */
  private static Hits expected(List<float[]> vectors, float[] query, int candidates, int k) {
    int[] distances = vectors.stream().mapToInt(vector -> differing(vector, query)).toArray();
    List<Integer> nearest =
        IntStream.range(0, vectors.size())
            .boxed()
            .sorted(Comparator.comparingInt(i -> distances[i]))
            .limit(candidates)
            .toList();
    TopHits best = new TopHits(k);
    nearest.forEach(
        i -> best.offer(i, InnerProduct.of(InnerProduct.widened(query), vectors.get(i))));
    return best.drain();
  }

  private static int differing(float[] a, float[] b) {
    int count = 0;
    for (int i = 0; i < a.length; i++) {
      count += a[i] > 0 == b[i] > 0 ? 0 : 1;
    }
    return count;
  }

  private static List<float[]> read(StoredVectors stored) {
    List<float[]> vectors = new ArrayList<>();
    stored.forEachBlock(
        1,
        (first, rows, block) -> {
          float[] vector = new float[stored.dimension()];
          block.get(vector);
          vectors.add(vector);
        });
    return vectors;
  }

  @ParameterizedTest
  @EnumSource
  void scoresTheNearestBySignsByTheirVectors(VectorStorage storage) {
    try (StoredVectors vectors = store(RandomVectors.clustered(3000, DIMENSION, 20, 1), storage);
        SignSearch search = open(vectors, 3)) {
      List<Query> queries = queries(150);
      List<Hits> found = search.search(queries, 7);
      assertThat(found).hasSize(150);
      List<float[]> stored = read(vectors);
      for (int i = 0; i < found.size(); i++) {
        assertThat(found.get(i)).isEqualTo(expected(stored, queries.get(i).requireVector(), 21, 7));
      }
      assertThat(search.search(queries.get(0), 7)).isEqualTo(found.get(0));
    }
    assertThat(notes).isEmpty();
    assertThat(Files.exists(folder.resolve("a.vectors.signs")))
        .isEqualTo(storage != VectorStorage.BINARY);
  }

  @Test
  void withAllAsCandidatesItIsTheExactSearch() {
    try (StoredVectors vectors =
            store(RandomVectors.clustered(500, DIMENSION, 20, 1), VectorStorage.FLOAT32);
        SignSearch search = open(vectors, 1000);
        ExactSearch exact = new ExactSearch(vectors, 1)) {
      List<Query> queries = queries(10);
      assertThat(search.search(queries, 5)).isEqualTo(exact.search(queries, 5));
      assertThat(search.search(queries, 1000)).isEqualTo(exact.search(queries, 1000));
    }
  }

  @Test
  void moreCandidatesFindMore() {
    List<Query> queries = queries(100);
    try (StoredVectors vectors =
            store(RandomVectors.clustered(5000, DIMENSION, 20, 1), VectorStorage.FLOAT32);
        ExactSearch exact = new ExactSearch(vectors, 2)) {
      List<Hits> truth = exact.search(queries, 10);
      double before = 0;
      for (int oversampling : new int[] {1, 4, 16}) {
        try (SignSearch search = open(vectors, oversampling)) {
          double recall = EmbeddingSearcher.recall(search, vectors.count(), queries, truth, 10);
          assertThat(recall).isBetween(before + 0.05, 1.0);
          before = recall;
        }
      }
    }
  }

  private void writeSignsOfOthers() throws IOException {
    List<float[]> others = RandomVectors.clustered(50, DIMENSION, 5, 1);
    try (StoredVectors vectors = store(others, VectorStorage.FLOAT32)) {
      open(vectors, 2).close();
    }
  }

  @Test
  void signsOfOtherVectorsAndDamagedOnesAreWrittenAgain() throws IOException {
    writeSignsOfOthers();
    try (StoredVectors vectors =
            store(RandomVectors.clustered(50, DIMENSION, 5, 9), VectorStorage.FLOAT32);
        SignSearch search = open(vectors, 2)) {
      float[] query = queries(1).get(0).requireVector();
      assertThat(search.search(Query.of(query), 3)).isEqualTo(expected(read(vectors), query, 6, 3));
      assertThat(notes).singleElement().asString().contains("has those of others");
      Files.write(folder.resolve("a.vectors.signs"), new byte[10]);
      open(vectors, 2).close();
      assertThat(notes).hasSize(2).last().asString().contains("signs will be written again");
    }
  }

  @Test
  void whatAnEndedProcessLeftOfOtherVectorsDoesNotMatter() throws IOException {
    writeSignsOfOthers();
    Files.move(folder.resolve("a.vectors.signs"), folder.resolve("a.vectors.signs.partial"));
    try (StoredVectors vectors =
            store(RandomVectors.clustered(50, DIMENSION, 5, 9), VectorStorage.FLOAT32);
        SignSearch search = open(vectors, 2)) {
      float[] query = queries(1).get(0).requireVector();
      assertThat(search.search(Query.of(query), 3)).isEqualTo(expected(read(vectors), query, 6, 3));
    }
    assertThat(notes).singleElement().asString().contains("the signs cannot be kept");
  }

  @Test
  void refusesWhatItCannotSearchFor() {
    try (StoredVectors vectors =
            store(RandomVectors.normal(10, DIMENSION, 1), VectorStorage.FLOAT32);
        SignSearch search = open(vectors, 2)) {
      assertThatIllegalArgumentException().isThrownBy(() -> open(vectors, 0));
      assertThatIllegalArgumentException()
          .isThrownBy(() -> search.search(queries(1), 0))
          .withMessage("k is 0; expected 1 or more");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> search.search(Query.of(new float[3]), 1))
          .withMessage("the query has the dimension 3, the index 100");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> search.search(Query.of("a text"), 1))
          .withMessageContaining("has no vector");
      float[] query = new float[DIMENSION];
      query[7] = Float.NaN;
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> search.search(Query.of(query), 1))
          .withMessage("the query: value 7 is NaN; expected finite ones");
    }
  }

  @Test
  void noVectorsNoHits() {
    try (StoredVectors vectors = store(List.of(), VectorStorage.FLOAT32);
        SignSearch search = open(vectors, 2)) {
      assertThat(search.search(queries(1), 3)).containsExactly(Hits.NONE);
      assertThat(search.search(List.of(), 3)).isEmpty();
    }
  }

  @Test
  void closingFreesTheSignsAndLeavesTheVectors() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (StoredVectors vectors =
              store(RandomVectors.normal(10, DIMENSION, 1), VectorStorage.INT8)) {
            SignSearch search = open(vectors, 2);
            search.close();
            search.close();
            assertThatIllegalStateException().isThrownBy(() -> search.search(queries(1), 1));
            vectors.checkAll();
          }
        });
  }
}
