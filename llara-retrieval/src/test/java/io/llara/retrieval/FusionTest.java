package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class FusionTest {
  private static Hits hits(Object... indicesAndScores) {
    int count = indicesAndScores.length / 2;
    return Hits.of(
        IntStream.range(0, count)
            .mapToLong(i -> ((Number) indicesAndScores[2 * i]).longValue())
            .toArray(),
        IntStream.range(0, count)
            .mapToDouble(i -> ((Number) indicesAndScores[2 * i + 1]).doubleValue())
            .toArray());
  }

  @Test
  void ranksAreAddedUp() {
    Hits fused = Fusion.reciprocalRank().fuse(hits(7, 0.9, 3, 0.8), hits(3, 12, 5, 11), 10);
    assertThat(fused.indices().asList()).containsExactly(3L, 7L, 5L);
    assertThat(fused.scores().get(0)).isCloseTo(0.5 / 62 + 0.5 / 61, within(1e-15));
    assertThat(fused.scores().get(1)).isCloseTo(0.5 / 61, within(1e-15));
    assertThat(fused.scores().get(2)).isCloseTo(0.5 / 62, within(1e-15));
  }

  @Test
  void ofEqualScoresTheSmallerIndexComesFirst() {
    Hits fused = Fusion.reciprocalRank().fuse(hits(9, 1), hits(4, 1), 1);
    assertThat(fused.indices().asList()).containsExactly(4L);
  }

  @Test
  void theWeightIsThatOfTheFirst() {
    for (Fusion.Kind kind : Fusion.Kind.values()) {
      Hits first = hits(1, 0.9, 2, 0.5, 3, 0.1);
      Hits second = hits(3, 9, 2, 8, 1, 1);
      assertThat(new Fusion(kind, 1).fuse(first, second, 3).indices().asList())
          .containsExactly(1L, 2L, 3L);
      assertThat(new Fusion(kind, 0).fuse(first, second, 3).indices().asList())
          .containsExactly(3L, 2L, 1L);
    }
  }

  @Test
  void standardScoresKeepHowFarTheBestIsAhead() {
    // The second ranking has one that is far ahead, the first hardly tells them apart.
    Hits first = hits(1, 0.53, 2, 0.52, 3, 0.51, 4, 0.50);
    Hits second = hits(4, 30, 1, 3, 2, 2, 3, 1);
    assertThat(Fusion.zScores(0.5).fuse(first, second, 1).indices().get(0)).isEqualTo(1);
    assertThat(Fusion.zScores(0.4).fuse(first, second, 1).indices().get(0)).isEqualTo(4);
  }

  @Test
  void theOnlyHitOfARankingCounts() {
    Hits first = hits(1, 0.9, 2, 0.85, 3, 0.7);
    assertThat(Fusion.zScores(0.5).fuse(first, hits(2, 14), 3).indices().get(0)).isEqualTo(2);
    assertThat(Fusion.zScores(0.5).fuse(first, Hits.NONE, 3).indices().asList())
        .containsExactly(1L, 2L, 3L);
    assertThat(Fusion.zScores(0.5).fuse(Hits.NONE, Hits.NONE, 3)).isEqualTo(Hits.NONE);
  }

  /** With the mean, and with what is missing written out. */
  @Property(tries = 200)
  void ranksAsTheSumOfStandardScores(
      @ForAll Random random,
      @ForAll @IntRange(min = 2, max = 30) int ofFirst,
      @ForAll @IntRange(min = 2, max = 30) int ofSecond) {
    Hits first = random(random, ofFirst);
    Hits second = random(random, ofSecond);
    Map<Long, Double> sums = new LinkedHashMap<>();
    for (long document = 0; document < 40; document++) {
      if (first.indices().contains(document) || second.indices().contains(document)) {
        sums.put(document, 0.3 * standard(first, document) + 0.7 * standard(second, document));
      }
    }
    Hits fused = Fusion.zScores(0.3).fuse(first, second, 40);
    List<Long> expected = new ArrayList<>(sums.keySet());
    expected.sort(Comparator.comparingDouble(document -> -sums.get(document)));
    assertThat(fused.indices().asList()).isEqualTo(expected);
    for (int i = 1; i < fused.size(); i++) {
      // Up to a constant.
      assertThat(fused.scores().get(0) - fused.scores().get(i))
          .isCloseTo(sums.get(expected.get(0)) - sums.get(expected.get(i)), within(1e-9));
    }
  }

  private static Hits random(Random random, int count) {
    List<Integer> documents = new ArrayList<>(IntStream.range(0, 40).boxed().toList());
    Collections.shuffle(documents, random);
    return Hits.of(
        documents.stream().limit(count).mapToLong(i -> i).toArray(),
        random.doubles(count).map(score -> -score).sorted().map(score -> -score).toArray());
  }

  private static double standard(Hits hits, long document) {
    double[] scores = hits.scores().toArray();
    double mean = java.util.Arrays.stream(scores).average().orElseThrow();
    double variance =
        java.util.Arrays.stream(scores).map(x -> (x - mean) * (x - mean)).average().orElseThrow();
    int rank = hits.indices().indexOf(document);
    double deviation = Math.sqrt(variance);
    double score = rank < 0 ? scores[scores.length - 1] - deviation : scores[rank];
    return (score - mean) / deviation;
  }

  @Test
  void refusesAndNamesItsSettings() {
    for (double weight : new double[] {-0.1, 1.1, Double.NaN}) {
      assertThatIllegalArgumentException().isThrownBy(() -> Fusion.zScores(weight));
    }
    assertThat(Fusion.reciprocalRank())
        .hasToString("reciprocal rank fusion (constant 60), weights 0.50 and 0.50");
    assertThat(Fusion.zScores(0.9)).hasToString("sum of z-scores, weights 0.90 and 0.10");
  }
}
