package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.within;

import io.llara.LlaraException;
import io.llara.Similarity;
import io.llara.testing.Leaks;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ExactSearchTest {
  @TempDir private Path folder;

  /** Several tiles, of which the last is not full. */
  @Test
  void findsWhatComparingAllFinds() {
    List<float[]> queries = RandomVectors.normal(21, 19, 1);
    List<float[]> passages = RandomVectors.normal(9_001, 19, 2);
    for (int k : new int[] {1, 10, 300}) {
      List<Hits> hits = search(2, queries, passages, k);
      assertThat(hits).hasSize(queries.size());
      for (int i = 0; i < queries.size(); i++) {
        assertIsBest(hits.get(i), queries.get(i), passages, k);
      }
    }
  }

  /** Queries of more than one block, for each of which the passages are read again. */
  @Test
  void findsTheSameForManyQueries() {
    List<float[]> queries = RandomVectors.normal(1_100, 5, 3);
    List<float[]> passages = RandomVectors.normal(130, 5, 4);
    List<Hits> hits = search(2, queries, passages, 3);
    assertThat(hits).hasSize(queries.size());
    for (int i = 0; i < queries.size(); i += 50) {
      assertIsBest(hits.get(i), queries.get(i), passages, 3);
    }
  }

  @Test
  void lanesRunsAndKindsOfSetsMakeNoDifference() throws IOException {
    List<float[]> queries = RandomVectors.normal(40, 33, 5);
    List<float[]> passages = RandomVectors.normal(9_000, 33, 6);
    List<Hits> first = search(1, queries, passages, 20);
    assertThat(search(1, queries, passages, 20)).isEqualTo(first);
    assertThat(search(2, queries, passages, 20)).isEqualTo(first);
    assertThat(search(5, queries, passages, 20)).isEqualTo(first);
    // Blocks of a vector, of fewer than are looked for, of less than a tile, of some tiles.
    for (int rows : new int[] {1, 7, 500, 4_100}) {
      List<float[]> some = passages.subList(0, Math.min(rows * 300, passages.size()));
      List<Hits> whole = search(1, queries, some, 20);
      try (ExactSearch search =
          new ExactSearch(new InMemoryVectors(some), 2, rows * 33L * Float.BYTES)) {
        assertThat(search.search(new InMemoryVectors(queries), 20)).isEqualTo(whole);
      }
    }
    try (StoredVectors stored = stored(passages);
        ExactSearch search = new ExactSearch(stored, 2);
        ExactSearch onHeap = new ExactSearch(new OnHeap(passages), 2)) {
      assertThat(search.search(new InMemoryVectors(queries), 20)).isEqualTo(first);
      assertThat(onHeap.search(new OnHeap(queries), 20)).isEqualTo(first);
      assertThat(search.search(queries.stream().map(Query::of).toList(), 20)).isEqualTo(first);
      assertThat(search.search(Query.of(queries.get(7)), 20)).isEqualTo(first.get(7));
    }
  }

  /** Several matrix products of queries, one reading. */
  @Test
  void readsTheVectorsOnceForManyQueries() {
    InMemoryVectors passages = new InMemoryVectors(RandomVectors.normal(50, 5, 4));
    AtomicInteger readings = new AtomicInteger();
    VectorSet counting =
        new VectorSet() {
          @Override
          public long count() {
            return 50;
          }

          @Override
          public int dimension() {
            return 5;
          }

          @Override
          public void forEachBlock(int rows, BlockReceiver receiver) {
            readings.incrementAndGet();
            passages.forEachBlock(rows, receiver);
          }
        };
    try (ExactSearch search = new ExactSearch(counting, 2)) {
      assertThat(search.search(new InMemoryVectors(RandomVectors.normal(5_000, 5, 3)), 3))
          .hasSize(5_000);
    }
    assertThat(readings).hasValue(1);
  }

  /** What a query's hits are does not depend on which queries it is asked with. */
  @Test
  void otherQueriesMakeNoDifference() {
    List<float[]> queries = RandomVectors.normal(33, 21, 7);
    List<float[]> passages = RandomVectors.normal(3_000, 21, 8);
    List<Hits> together = search(2, queries, passages, 15);
    for (int i = 0; i < queries.size(); i += 8) {
      assertThat(search(1, queries.subList(i, i + 1), passages, 15))
          .containsExactly(together.get(i));
    }
  }

  /** The same vectors again and again, in every place of a tile and of a block. */
  @Test
  void ofEqualScoresTheSmallerIndexComesFirst() {
    List<float[]> some = RandomVectors.normal(7, 37, 9);
    List<float[]> passages = new ArrayList<>();
    for (int i = 0; i < 9_500; i++) {
      passages.add(some.get(i % 7));
    }
    List<float[]> queries = RandomVectors.normal(20, 37, 10);
    List<Hits> hits = search(2, queries, passages, 1_500);
    for (int i = 0; i < queries.size(); i++) {
      float[] query = queries.get(i);
      List<Integer> order =
          IntStream.range(0, 7)
              .boxed()
              .sorted(Comparator.comparingDouble(place -> -Similarity.dot(query, some.get(place))))
              .toList();
      // 9500 = 7 · 1357 + 1: the best vector stands at 1357 or 1358 places.
      long[] best = LongStream.range(0, 9_500).filter(place -> place % 7 == order.get(0)).toArray();
      long[] second =
          LongStream.range(0, 9_500)
              .filter(place -> place % 7 == order.get(1))
              .limit(1_500 - best.length)
              .toArray();
      assertThat(hits.get(i).indices().toArray())
          .containsExactly(LongStream.concat(LongStream.of(best), LongStream.of(second)).toArray());
    }
  }

  @Test
  void allEqualIsTheOrderOfTheSet() {
    List<float[]> passages = Collections.nCopies(2_500, new float[] {0.1f, 0.7f, -0.3f});
    // Of few hits more are too close than are kept as candidates.
    for (int k : new int[] {1, 5, 2_000}) {
      Hits hits = search(2, List.of(new float[] {1, 2, 3}), passages, k).get(0);
      assertThat(hits.indices().toArray()).containsExactly(LongStream.range(0, k).toArray());
      assertThat(hits.scores().stream().distinct()).hasSize(1);
    }
  }

  /**
   * All scores are 2.56e8 or so, where neighbours in float32 are 16 or 32 apart. Of all sizes some
   * fill the candidates in the middle of the last tile.
   */
  @ParameterizedTest
  @CsvSource({"1, 700", "1, 1000", "1, 1500", "2, 1400", "2, 3000"})
  void ranksWhatFloat32CannotTellApart(int lanes, int count) {
    Random random = new Random(11);
    List<float[]> passages = RandomVectors.normal(count, 64, 12);
    for (float[] passage : passages) {
      for (int i = 0; i < passage.length; i++) {
        passage[i] = 2_000 + passage[i] / 100;
      }
    }
    List<float[]> queries = new ArrayList<>();
    for (int q = 0; q < 20; q++) {
      float[] query = new float[64];
      for (int i = 0; i < query.length; i++) {
        query[i] = 2_000 + random.nextFloat();
      }
      queries.add(query);
    }
    List<Hits> hits = search(lanes, queries, passages, 25);
    for (int i = 0; i < queries.size(); i++) {
      assertIsBest(hits.get(i), queries.get(i), passages, 25);
    }
  }

  @Test
  void tinyAndLargeVectorsAreRanked() {
    for (float scale : new float[] {1e-30f, 1e-22f, 1e17f}) {
      List<float[]> passages = RandomVectors.normal(2_000, 8, 13);
      passages.forEach(passage -> multiply(passage, scale));
      float[] query = RandomVectors.normal(1, 8, 14).get(0);
      multiply(query, 1e17f);
      Hits hits = search(1, List.of(query), passages, 9).get(0);
      double[] expected =
          passages.stream()
              .mapToDouble(passage -> -Similarity.dot(query, passage))
              .sorted()
              .toArray();
      for (int i = 0; i < 9; i++) {
        assertThat(hits.scores().get(i)).isCloseTo(-expected[i], within(1e-12 * -expected[0]));
      }
    }
  }

  /** Small integers: many ties, and every sum is exact whatever its order. */
  @Property(tries = 60)
  void isASortByScoreAndIndex(
      @ForAll @IntRange(min = 1, max = 5) int dimension,
      @ForAll @IntRange(min = 1, max = 60) int count,
      @ForAll @IntRange(min = 1, max = 70) int k,
      @ForAll long seed) {
    List<float[]> passages = integers(count, dimension, seed);
    List<float[]> queries = integers(3, dimension, seed + 1);
    List<Hits> hits = search(1, queries, passages, k);
    for (int i = 0; i < 3; i++) {
      float[] query = queries.get(i);
      long[] expected =
          IntStream.range(0, count)
              .boxed()
              .sorted(
                  Comparator.comparingDouble(place -> -Similarity.dot(query, passages.get(place))))
              .limit(k)
              .mapToLong(Integer::longValue)
              .toArray();
      assertThat(hits.get(i).indices().toArray()).containsExactly(expected);
      for (int j = 0; j < expected.length; j++) {
        assertThat(hits.get(i).scores().get(j))
            .isEqualTo(Similarity.dot(query, passages.get((int) expected[j])));
      }
    }
  }

  @Test
  void moreThanThereAreIsAll() {
    List<float[]> passages = RandomVectors.normal(12, 4, 15);
    float[] query = passages.get(3);
    Hits hits = search(2, List.of(query), passages, 1_000_000_000).get(0);
    assertThat(hits.size()).isEqualTo(12);
    assertIsBest(hits, query, passages, 12);
  }

  @Test
  void emptySetsGiveNothing() {
    List<float[]> some = RandomVectors.normal(2, 4, 16);
    assertThat(search(1, List.of(), some, 5)).isEmpty();
    assertThat(search(1, some, List.of(), 5)).extracting(Hits::size).containsExactly(0, 0);
  }

  @Test
  void namesTheVectorThatIsNotFinite() {
    List<float[]> good = RandomVectors.normal(9_000, 6, 17);
    for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
      List<float[]> passages = new ArrayList<>(good);
      passages.set(8_995, with(passages.get(8_995), 2, bad));
      passages.set(8_200, with(passages.get(8_200), 5, bad));
      assertRefused(good.subList(0, 3), passages, "vector 8200 of the passages: value 5 is " + bad);
      List<float[]> queries = new ArrayList<>(good.subList(0, 1_030));
      queries.set(1_027, with(queries.get(1_027), 0, bad));
      assertRefused(queries, good, "vector 1027 of the queries: value 0 is " + bad);
    }
    List<float[]> long1 = List.of(new float[] {1, 2}, new float[] {3e19f, 0});
    List<float[]> short1 = List.of(new float[] {1, 2});
    assertRefused(short1, long1, "vector 1 of the passages: it is 3.0");
    assertRefused(long1, short1, "vector 1 of the queries");
  }

  @Test
  void wrongArgumentsAreRefused() {
    List<float[]> three = RandomVectors.normal(2, 3, 18);
    List<float[]> four = RandomVectors.normal(2, 4, 18);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> search(1, three, four, 5))
        .withMessage("the queries have the dimension 3, the passages 4");
    assertThatIllegalArgumentException().isThrownBy(() -> search(1, three, three, 0));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new ExactSearch(new InMemoryVectors(three), 0));
    try (ExactSearch search = new ExactSearch(new InMemoryVectors(three), 1)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> search.search(Query.of("a text"), 1))
          .withMessageContaining("no vector");
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> InMemoryVectors.of(three.get(0), four.get(0)))
        .withMessageContaining("vector 1 has 4");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new InMemoryVectors(three).forEachBlock(0, (first, rows, block) -> {}));
  }

  @Test
  void noNativeMemoryIsLeft() throws Throwable {
    List<float[]> queries = RandomVectors.normal(5, 6, 19);
    List<float[]> passages = RandomVectors.normal(2_000, 6, 20);
    List<float[]> bad = new ArrayList<>(passages);
    bad.set(1_999, with(bad.get(1_999), 0, Float.NaN));
    Leaks.assertNone(
        () -> {
          search(2, queries, passages, 4);
          assertRefused(queries, bad, "1999");
          assertRefused(bad, queries, "1999");
          try (ExactSearch search = new ExactSearch(new OnHeap(passages), 1)) {
            search.search(new OnHeap(queries), 4);
          }
        });
  }

  @Test
  void anInterruptEndsTheSearch() {
    InMemoryVectors some = new InMemoryVectors(RandomVectors.normal(50, 6, 21));
    try (ExactSearch search = new ExactSearch(some, 1)) {
      Thread.currentThread().interrupt();
      try {
        assertThatExceptionOfType(LlaraException.class)
            .isThrownBy(() -> search.search(some, 4))
            .withMessageContaining("interrupted");
      } finally {
        assertThat(Thread.interrupted()).isTrue();
      }
      assertThat(search.search(some, 4)).hasSize(50);
    }
  }

  @Test
  void closedIsClosed() {
    InMemoryVectors some = new InMemoryVectors(RandomVectors.normal(5, 6, 22));
    ExactSearch search = new ExactSearch(some, 1);
    search.close();
    search.close();
    assertThatIllegalStateException().isThrownBy(() -> search.search(some, 4));
  }

  @Test
  void whatTheReceiverThrowsEndsTheSearch() {
    InMemoryVectors some = new InMemoryVectors(RandomVectors.normal(5, 6, 23));
    try (ExactSearch search = new ExactSearch(some, 1)) {
      List<Long> received = new ArrayList<>();
      assertThatIllegalStateException()
          .isThrownBy(
              () ->
                  search.search(
                      some,
                      1,
                      (query, hits) -> {
                        received.add(query);
                        if (query == 2) {
                          throw new IllegalStateException("enough");
                        }
                      }))
          .withMessage("enough");
      assertThat(received).containsExactly(0L, 1L, 2L);
    }
  }

  @Test
  void unitVectorsMakeCosines() {
    List<float[]> queries = RandomVectors.normal(3, 9, 24);
    List<float[]> passages = RandomVectors.normal(300, 9, 25);
    UnitVectors zero = new UnitVectors(InMemoryVectors.of(new float[] {1}, new float[] {0}));
    try (ExactSearch search = new ExactSearch(new UnitVectors(new InMemoryVectors(passages)), 1);
        ExactSearch ofZero = new ExactSearch(zero, 1)) {
      List<Hits> hits = search.search(new UnitVectors(new InMemoryVectors(queries)), 300);
      for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 300; j++) {
          float[] passage = passages.get((int) hits.get(i).indices().get(j));
          assertThat(hits.get(i).scores().get(j))
              .isCloseTo(Similarity.cosine(queries.get(i), passage), within(1e-6));
        }
      }
      assertThatExceptionOfType(LlaraException.class)
          .isThrownBy(() -> ofZero.search(zero, 1))
          .withMessageContaining("vector 1 has the length 0.0");
    }
  }

  /** A set as somebody else might write it. */
  private record OnHeap(List<float[]> vectors) implements VectorSet {
    @Override
    public long count() {
      return vectors.size();
    }

    @Override
    public int dimension() {
      return vectors.get(0).length;
    }

    @Override
    public void forEachBlock(int rows, BlockReceiver receiver) {
      for (int first = 0; first < vectors.size(); first += rows) {
        int here = Math.min(rows, vectors.size() - first);
        FloatBuffer block = FloatBuffer.allocate(here * dimension());
        vectors.subList(first, first + here).forEach(block::put);
        receiver.accept(first, here, block.flip());
      }
    }
  }

  private StoredVectors stored(List<float[]> vectors) {
    Path file = folder.resolve("a.vectors");
    StoredVectors.write(file, new InMemoryVectors(vectors), VectorStorage.FLOAT32);
    return StoredVectors.open(file);
  }

  private static void assertIsBest(Hits hits, float[] query, List<float[]> passages, int k) {
    double[] scores =
        passages.stream().mapToDouble(passage -> Similarity.dot(query, passage)).toArray();
    long[] expected =
        IntStream.range(0, scores.length)
            .boxed()
            .sorted(Comparator.comparingDouble(place -> -scores[place]))
            .limit(k)
            .mapToLong(Integer::longValue)
            .toArray();
    assertThat(hits.indices().toArray()).containsExactly(expected);
    for (int i = 0; i < hits.size(); i++) {
      double score = scores[(int) expected[i]];
      // Both are summed in float64, in different orders.
      assertThat(hits.scores().get(i)).isCloseTo(score, within(1e-12 * (1 + Math.abs(score))));
    }
  }

  private static List<Hits> search(
      int lanes, List<float[]> queries, List<float[]> passages, int k) {
    try (ExactSearch search = new ExactSearch(new InMemoryVectors(passages), lanes)) {
      return search.search(new InMemoryVectors(queries), k);
    }
  }

  private static void assertRefused(List<float[]> queries, List<float[]> passages, String message) {
    assertThatExceptionOfType(LlaraException.class)
        .isThrownBy(() -> search(2, queries, passages, 3))
        .withMessageContaining(message);
  }

  private static float[] with(float[] vector, int place, float value) {
    float[] changed = vector.clone();
    changed[place] = value;
    return changed;
  }

  private static void multiply(float[] vector, float scale) {
    for (int i = 0; i < vector.length; i++) {
      vector[i] *= scale;
    }
  }

  private static List<float[]> integers(int count, int dimension, long seed) {
    Random random = new Random(seed);
    List<float[]> vectors = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      float[] vector = new float[dimension];
      for (int j = 0; j < dimension; j++) {
        vector[j] = random.nextInt(5) - 2;
      }
      vectors.add(vector);
    }
    return vectors;
  }
}
