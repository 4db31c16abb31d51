package io.llara.retrieval.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.retrieval.Bm25Options;
import io.llara.retrieval.Bm25Search;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.Fusion;
import io.llara.retrieval.Hits;
import io.llara.retrieval.HnswOptions;
import io.llara.retrieval.HybridSearch;
import io.llara.retrieval.Query;
import io.llara.retrieval.SearchListener;
import io.llara.retrieval.SearchMethod;
import io.llara.retrieval.Searcher;
import io.llara.testing.Shared;
import io.llara.testing.Stories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BeirEvaluatorTest {
  /** The documents with text, as they are embedded. */
  private static final Map<String, String> PASSAGES =
      Map.of(
          "d1", "Llamas Llamas carry loads over mountain paths.",
          "d2", "A lighthouse warns ships of the rocks.",
          "d3", "Bread Dough must rest before it is baked.",
          "d4", "Ships carry loads over the sea.",
          "q1", "The mountain is high.",
          "d5", "A baker bakes bread and cake.");

  private static final SearchMethod BM25 = new Bm25Search(Bm25Options.DEFAULT);

  private static Encoder encoder;

  @TempDir private Path parent;

  private BeirFolder folder;

  @BeforeAll
  static void openEncoder() {
    encoder =
        Encoder.builder(Stories.dir())
            .template("llara-paper")
            .computeType(ComputeType.FLOAT32)
            .threads(1)
            .build();
  }

  @AfterAll
  static void closeEncoder() {
    encoder.close();
  }

  @BeforeEach
  void writeFolder() {
    folder = new BeirFolder(parent.resolve("small"));
  }

  /** Every score of every document, by the encoder itself. */
  @Test
  void searchesWithQueriesInNextAndPassagesInSelf() {
    BeirEvaluator evaluator = evaluator(BeirEvaluator.DEFAULT_CUTOFFS);
    Evaluation evaluation = evaluator.evaluate("model", EmbeddingSearch.of(encoder));
    assertThat(evaluation.name()).isEqualTo("model");
    assertThat(evaluation.queryIds()).containsExactly("q1", "q2", "q3");
    assertScores(evaluation.run(), Mode.NEXT, Mode.SELF);
    assertScores(
        evaluator
            .evaluate("other", EmbeddingSearch.of(encoder).withModes(Mode.SELF, Mode.NEXT))
            .run(),
        Mode.SELF,
        Mode.NEXT);
  }

  private static void assertScores(Run run, Mode queryMode, Mode passageMode) {
    Map<String, String> queries =
        Map.of("q1", "Who walks over a mountain with loads?", "q2", "baking bread", "q3", "zebra");
    queries.forEach(
        (id, text) -> {
          float[] query = encoder.encode(text, queryMode);
          assertThat(run.ranking(id).documents()).hasSize(6);
          for (ScoredDocument found : run.ranking(id).documents()) {
            float[] passage = encoder.encode(PASSAGES.get(found.id()), passageMode);
            double product = 0;
            for (int i = 0; i < query.length; i++) {
              product += (double) query[i] * passage[i];
            }
            // A text's vector differs by its batch in the last bits.
            assertThat((double) found.score()).isCloseTo(product, within(1e-5));
          }
        });
  }

  @Test
  void theCacheGivesTheSameAndEncodesNothing() throws IOException {
    BeirEvaluator evaluator = evaluator(BeirEvaluator.DEFAULT_CUTOFFS);
    CachePlace cache = CachePlace.of(parent.resolve("cache"), Stories.dir(), Optional.empty());
    List<String> told = new ArrayList<>();
    EmbeddingSearch cached = EmbeddingSearch.of(encoder).withCache(cache);
    SearchListener listener =
        new SearchListener() {
          @Override
          public void encoding(String what, long texts) {
            told.add(texts + " " + what);
          }

          @Override
          public void note(String message) {
            told.add(message);
          }
        };
    Evaluation first = evaluator.evaluate("model", cached, listener);
    long encoded = encoder.statistics().texts();
    Evaluation second = evaluator.evaluate("model", cached, listener);
    assertThat(encoder.statistics().texts()).isEqualTo(encoded);
    assertThat(second.run()).isEqualTo(first.run());
    assertThat(evaluator.evaluate("model", EmbeddingSearch.of(encoder)).run())
        .isEqualTo(first.run());
    assertThat(told).containsExactly("6 passages", "3 queries", "6 passages", "3 queries");
    try (Stream<Path> files = Files.list(parent.resolve("cache"))) {
      assertThat(files).hasSize(2);
    }
  }

  @Test
  void bm25FindsByWords() {
    BeirEvaluator evaluator = evaluator(BeirEvaluator.DEFAULT_CUTOFFS);
    Evaluation evaluation = evaluator.evaluate("bm25", BM25);
    assertThat(evaluation.name()).isEqualTo("bm25");
    assertThat(ids(evaluation, "q1")).containsExactly("d1", "d4", "q1");
    assertThat(ids(evaluation, "q2")).containsExactly("d5", "d3");
    assertThat(ids(evaluation, "q3")).isEmpty();
    assertThat(evaluation.mean(Metric.ndcg(10))).isCloseTo(2 / 3.0, within(1e-12));
    assertThat(evaluation.mean(Metric.mrr(1))).isCloseTo(2 / 3.0, within(1e-12));
    assertThat(evaluator.evaluate("bm25", BM25).run()).isEqualTo(evaluation.run());
  }

  @Test
  void countsWhatCannotBeFoundAsTrecEvalDoes() {
    folder.qrels("test", BeirFolder.QRELS + "q1\tgone\t3\nq8\td1\t1\nq4\td1\t1\n");
    Evaluation evaluation = evaluator(BeirEvaluator.DEFAULT_CUTOFFS).evaluate("bm25", BM25);
    assertThat(evaluation.queryIds()).containsExactly("q1", "q2", "q3", "q8", "q4");
    assertThat(evaluation.values(Metric.recall(10)).asList())
        .containsExactly(2 / 3.0, 1.0, 0.0, 0.0, 0.0);
    assertThat(evaluation.mean(Metric.recall(10))).isCloseTo((2 / 3.0 + 1) / 5, within(1e-12));
  }

  @Test
  void retrievesAsManyAsAskedAndMayLeaveTheQueryOut() {
    BeirEvaluator one = new BeirEvaluator(dataset(), List.of(1), 1, false, 1);
    assertThat(ids(one.evaluate("bm25", BM25), "q1")).containsExactly("d1");
    BeirEvaluator three = new BeirEvaluator(dataset(), List.of(1, 3), 1, false, 1);
    assertThat(ids(three.evaluate("bm25", BM25), "q1")).containsExactly("d1", "d4", "q1");
    BeirEvaluator without = new BeirEvaluator(dataset(), List.of(3), 1, true, 1);
    assertThat(ids(without.evaluate("bm25", BM25), "q1")).containsExactly("d1", "d4");
    assertThat(ids(without.evaluate("model", EmbeddingSearch.of(encoder)), "q1"))
        .hasSize(3)
        .doesNotContain("q1");
  }

  @Test
  void takesAnySearcher() {
    BeirEvaluator evaluator = evaluator(BeirEvaluator.DEFAULT_CUTOFFS);
    EmbeddingSearch exact = EmbeddingSearch.of(encoder);
    Evaluation model = evaluator.evaluate("model", exact);
    // All passages are candidates of the graph: it misses none.
    assertThat(evaluator.evaluate("model", exact.withHnsw(HnswOptions.DEFAULT)).run())
        .isEqualTo(model.run());
    for (Fusion fusion : List.of(Fusion.reciprocalRank(), Fusion.zScores(0.5))) {
      Evaluation hybrid = evaluator.evaluate("hybrid", new HybridSearch(exact, BM25, fusion));
      assertThat(hybrid.run().ranking("q2").documents()).hasSize(6);
    }
    Evaluation words = evaluator.evaluate("bm25", new HybridSearch(exact, BM25, Fusion.zScores(0)));
    assertThat(ids(words, "q2").subList(0, 2)).containsExactly("d5", "d3");
    Evaluation last =
        evaluator.evaluate(
            "last",
            new Searcher() {
              @Override
              public List<Hits> search(List<Query> queries, int k) {
                Hits sixth =
                    new Hits(ImmutableLongArray.of(5), ImmutableDoubleArray.of(queries.size()));
                return Collections.nCopies(queries.size(), sixth);
              }

              @Override
              public void close() {}
            });
    assertThat(ids(last, "q1")).containsExactly("d5");
    assertThat(last.mean(Metric.mrr(1))).isCloseTo(1 / 3.0, within(1e-12));
  }

  @Test
  void noticesACorpusThatChanges() {
    BeirEvaluator evaluator = evaluator(BeirEvaluator.DEFAULT_CUTOFFS);
    folder.corpus(BeirFolder.CORPUS.replace("Llamas", "Alpacas"));
    assertThatThrownBy(() -> evaluator.evaluate("bm25", BM25))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("changed while it was read");
    assertThatThrownBy(() -> evaluator.evaluate("model", EmbeddingSearch.of(encoder)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("changed while it was read");
  }

  @Test
  void refusesBadSettings() {
    for (List<Integer> cutoffs : List.of(List.<Integer>of(), List.of(3, 0), List.of(3, 3))) {
      assertThatThrownBy(() -> evaluator(cutoffs)).isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(() -> new BeirEvaluator(dataset(), List.of(1), 0, false, 1))
        .isInstanceOf(IllegalArgumentException.class);
  }

  private BeirDataset dataset() {
    return BeirDataset.open(folder.path(), "test");
  }

  private BeirEvaluator evaluator(List<Integer> cutoffs) {
    return new BeirEvaluator(dataset(), cutoffs, BeirEvaluator.DEFAULT_DEPTH, false, 1);
  }

  @Test
  void writesTheMeansAsJson() throws IOException {
    BeirEvaluator evaluator = evaluator(List.of(10));
    Run run = new Run("model", Map.of("q2", evaluator.evaluate("bm25", BM25).run().ranking("q2")));
    Path file = parent.resolve("report.json");
    evaluator.writeJson(file, List.of(evaluator.evaluate(run)));
    assertThat(file)
        .content()
        .isEqualTo(
            """
            {
              "dataset": "small",
              "runs": [
                {
                  "name": "model",
                  "metrics": {
                    "ndcg@10": 0.3333333333333333,
                    "map": 0.3333333333333333,
                    "recall@10": 0.3333333333333333,
                    "mrr@10": 0.3333333333333333,
                    "p@10": 0.06666666666666667
                  }
                }
              ]
            }
            """);
  }

  /** A plain BM25 with the same parameters has these figures (README of the shared data). */
  @ParameterizedTest
  @CsvSource({"cranfield, 225, 0.338", "npl, 93, 0.430"})
  void bm25IsAsGoodAsElsewhere(String name, int queries, double expected) {
    Path shared = Shared.require().resolve("data/beir").resolve(name);
    Evaluation evaluation =
        BeirEvaluator.of(BeirDataset.open(shared, "test")).evaluate("bm25", BM25);
    assertThat(evaluation.queryIds()).hasSize(queries);
    assertThat(evaluation.mean(Metric.ndcg(10))).isCloseTo(expected, within(0.03));
  }

  private static List<String> ids(Evaluation evaluation, String query) {
    return evaluation.run().ranking(query).documents().stream().map(ScoredDocument::id).toList();
  }
}
