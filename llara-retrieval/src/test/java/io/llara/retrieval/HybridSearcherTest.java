package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class HybridSearcherTest {
  private static final int COUNT = 60;

  private static final InMemoryVectors VECTORS =
      new InMemoryVectors(RandomVectors.normal(COUNT, 8, 1));

  /** Every third document has the word. */
  private static final Corpus CORPUS =
      new Corpus(
          "words",
          () ->
              new ByteArrayInputStream(
                  IntStream.range(0, COUNT)
                      .mapToObj(
                          i ->
                              "{\"_id\": \"%d\", \"text\": \"%s\"}"
                                  .formatted(i, i % 3 == 0 ? "fox " + "owl ".repeat(i) : "owl"))
                      .collect(Collectors.joining("\n"))
                      .getBytes(StandardCharsets.UTF_8)));

  private static HybridSearcher open(Fusion fusion) {
    return new HybridSearcher(new ExactSearch(VECTORS, 1), Bm25Index.build(CORPUS), fusion);
  }

  private static List<Query> queries() {
    return RandomVectors.normal(5, 8, 2).stream()
        .map(vector -> Query.of("fox").withVector(vector))
        .toList();
  }

  @Test
  void fusesWhatBothFind() {
    for (Fusion fusion : List.of(Fusion.reciprocalRank(), Fusion.zScores(0.5))) {
      try (HybridSearcher hybrid = open(fusion);
          ExactSearch vectors = new ExactSearch(VECTORS, 1);
          Bm25Index words = Bm25Index.build(CORPUS)) {
        List<Hits> expected = new ArrayList<>();
        for (Query query : queries()) {
          expected.add(
              fusion.fuse(vectors.search(query, COUNT), words.search(query, COUNT), COUNT));
        }
        assertThat(hybrid.search(queries(), COUNT)).isEqualTo(expected);
        // The best are the same, however many are wanted.
        Hits best = hybrid.search(queries().get(1), 4);
        assertThat(best.indices()).isEqualTo(expected.get(1).indices().subArray(0, 4));
      }
    }
  }

  @Test
  void whatIsFoundHasAScore() {
    Fusion fusion = Fusion.zScores(0.5);
    try (HybridSearcher hybrid = open(fusion)) {
      Query query = queries().get(0);
      Hits all = hybrid.search(query, COUNT);
      List<OptionalDouble> scores =
          hybrid.score(
              List.of(
                  new Searcher.Candidate(query, all.indices().get(50), ""),
                  new Searcher.Candidate(query, -1, "elsewhere"),
                  new Searcher.Candidate(queries().get(1), all.indices().get(0), "")));
      assertThat(scores.get(0)).hasValue(all.scores().get(50));
      assertThat(scores.get(1)).isEmpty();
      assertThat(scores.get(2)).isPresent();
      assertThat(hybrid.recall(queries(), 5)).isEmpty();
    }
  }

  @Test
  void needsTextAndVector() {
    HybridSearcher hybrid = open(Fusion.reciprocalRank());
    assertThatIllegalArgumentException()
        .isThrownBy(() -> hybrid.search(Query.of("fox"), 1))
        .withMessageContaining("no vector");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> hybrid.search(Query.of(new float[8]), 1))
        .withMessageContaining("no text");
    assertThatIllegalArgumentException().isThrownBy(() -> hybrid.search(queries(), 0));
    hybrid.close();
    hybrid.close();
    assertThatIllegalStateException().isThrownBy(() -> hybrid.search(queries(), 1));
  }

  @Test
  void closesTheFirstIfTheSecondDoesNotOpen() {
    ExactSearch first = new ExactSearch(VECTORS, 1);
    SearchMethod broken =
        (passages, listener) -> {
          throw new IllegalStateException("no");
        };
    HybridSearch method =
        new HybridSearch((passages, listener) -> first, broken, Fusion.reciprocalRank());
    assertThatIllegalStateException().isThrownBy(() -> method.open(CORPUS)).withMessage("no");
    assertThatIllegalStateException().isThrownBy(() -> first.search(queries(), 1));
    assertThat(
            new HybridSearch(broken, new Bm25Search(Bm25Options.DEFAULT), Fusion.zScores(0.5))
                .settings())
        .containsEntry("search", "hybrid")
        .containsEntry("second search", "BM25")
        .containsEntry("fusion", "sum of z-scores, weights 0.50 and 0.50");
  }
}
