package io.llara.retrieval.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class MetricTest {
  private static final double LOG_3 = Math.log(3) / Math.log(2);
  private static final Map<String, Integer> GRADES =
      Map.of("a", 3, "b", 0, "c", 1, "d", -1, "e", 2);

  /** Computed by hand from the definitions. */
  @Test
  void hasTheValuesOfTheDefinitions() {
    Ranking ranking = ranking("b", "a", "d", "x", "c");
    double ideal = 3 + 2 / LOG_3;
    assertThat(of(Metric.ndcg(2), ranking)).isCloseTo(3 / LOG_3 / ideal, within(1e-12));
    double all = 3 / LOG_3 + Math.log(2) / Math.log(6);
    assertThat(of(Metric.ndcg(10), ranking)).isCloseTo(all / (ideal + 0.5), within(1e-12));
    assertThat(of(Metric.map(), ranking)).isCloseTo((1 / 2.0 + 2 / 5.0) / 3, within(1e-12));
    assertThat(of(Metric.recall(3), ranking)).isCloseTo(1 / 3.0, within(1e-12));
    assertThat(of(Metric.recall(5), ranking)).isCloseTo(2 / 3.0, within(1e-12));
    assertThat(of(Metric.mrr(1), ranking)).isZero();
    assertThat(of(Metric.mrr(2), ranking)).isEqualTo(0.5);
    assertThat(of(Metric.precision(4), ranking)).isEqualTo(0.25);
    assertThat(of(Metric.precision(10), ranking)).isEqualTo(0.2);
  }

  /** As trec_eval's -l: grades below the level count as 0 for all measures but nDCG. */
  @Test
  void theRelevanceLevelMovesAllButNdcg() {
    Ranking ranking = ranking("b", "c", "x", "e", "a");
    assertThat(of(Metric.mrr(10), ranking)).isEqualTo(0.5);
    assertThat(of(Metric.mrr(10).atLevel(2), ranking)).isEqualTo(0.25);
    assertThat(of(Metric.mrr(10).atLevel(3), ranking)).isEqualTo(0.2);
    assertThat(of(Metric.mrr(10).atLevel(4), ranking)).isZero();
    assertThat(of(Metric.recall(4).atLevel(2), ranking)).isEqualTo(0.5);
    assertThat(of(Metric.precision(5).atLevel(2), ranking)).isEqualTo(0.4);
    assertThat(of(Metric.map().atLevel(2), ranking))
        .isCloseTo((1 / 4.0 + 2 / 5.0) / 2, within(1e-12));
    assertThat(Metric.ndcg(10).atLevel(2)).isEqualTo(Metric.ndcg(10));
    assertThatThrownBy(() -> Metric.mrr(10).atLevel(0)).hasMessageContaining("1 or more");
  }

  @Test
  void thePerfectRankingHasOne() {
    Ranking ranking = ranking("a", "e", "c");
    for (int k : List.of(1, 3, 5)) {
      assertThat(of(Metric.ndcg(k), ranking)).isEqualTo(1);
    }
    assertThat(of(Metric.map(), ranking)).isEqualTo(1);
    assertThat(of(Metric.recall(3), ranking)).isEqualTo(1);
    assertThat(of(Metric.mrr(1), ranking)).isEqualTo(1);
    assertThat(of(Metric.precision(3), ranking)).isEqualTo(1);
  }

  @Test
  void nothingRelevantOrNothingFoundIsZero() {
    for (Metric metric : Metric.all(List.of(1, 10))) {
      assertThat(metric.of(Ranking.EMPTY, GRADES)).isZero();
      assertThat(metric.of(ranking("a", "b"), Map.of("a", 0, "b", -2))).isZero();
      assertThat(metric.of(ranking("a", "b"), Map.of())).isZero();
    }
  }

  @Test
  void labelsAreThoseOfTheField() {
    assertThat(Metric.all(List.of(1, 10)).stream().map(Metric::label))
        .containsExactly(
            "ndcg@1", "ndcg@10", "map", "recall@1", "recall@10", "mrr@1", "mrr@10", "p@1", "p@10");
    assertThatThrownBy(() -> Metric.ndcg(0)).hasMessageContaining("1 or more");
    assertThatThrownBy(() -> new Metric(Metric.Measure.MAP, 3)).hasMessageContaining("expected 0");
  }

  @Test
  void meansAreOverAllJudgedQueries() {
    Qrels qrels =
        Qrels.of(Map.of("q1", Map.of("a", 1), "q2", Map.of("a", 1), "q3", Map.of("a", 0)));
    Run run = new Run("r", Map.of("q1", ranking("a"), "q9", ranking("a"), "q3", ranking("a")));
    Evaluation evaluation = Evaluation.of(run, qrels, List.of(Metric.ndcg(10)));
    assertThat(evaluation.mean(Metric.ndcg(10))).isCloseTo(1 / 3.0, within(1e-12));
    assertThat(evaluation.queryIds()).containsExactlyInAnyOrder("q1", "q2", "q3");
    assertThatThrownBy(() -> evaluation.mean(Metric.map()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("map was not measured, only [ndcg@10]");
  }

  @Test
  void equalScoresGoByFallingId() {
    Ranking ranking =
        new Ranking(
            List.of(
                new ScoredDocument("d1", 1),
                new ScoredDocument("d10", 1),
                new ScoredDocument("\uFFFD", 1),
                new ScoredDocument("\uD83D\uDE00", 1),
                new ScoredDocument("zero", -0.0f),
                new ScoredDocument("nought", 0.0f),
                new ScoredDocument("a", 2)));
    assertThat(ranking.documents().stream().map(ScoredDocument::id))
        .containsExactly("a", "\uD83D\uDE00", "\uFFFD", "d10", "d1", "zero", "nought");
  }

  @Test
  void aRankingHasNoDocumentTwiceAndNoScoreThatIsNone() {
    assertThatThrownBy(() -> ranking("a", "b", "a")).hasMessageContaining("'a' is there twice");
    assertThatThrownBy(() -> new ScoredDocument("a", Float.NaN)).hasMessageContaining("NaN");
    assertThatThrownBy(() -> new ScoredDocument("a", Float.POSITIVE_INFINITY))
        .hasMessageContaining("'a'");
  }

  private static double of(Metric metric, Ranking ranking) {
    return metric.of(ranking, GRADES);
  }

  private static Ranking ranking(String... ids) {
    List<ScoredDocument> documents = new ArrayList<>();
    for (String id : ids) {
      documents.add(new ScoredDocument(id, -documents.size()));
    }
    return new Ranking(documents);
  }
}
