package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class TopHitsTest {
  @Property(tries = 200)
  void theOrderOfOffersDoesNotMatter(
      @ForAll @IntRange(min = 0, max = 80) int count,
      @ForAll @IntRange(min = 1, max = 30) int limit,
      @ForAll long seed) {
    Random random = new Random(seed);
    double[] scores = random.doubles(count).map(score -> Math.floor(score * 20)).toArray();
    List<Integer> order = new java.util.ArrayList<>(IntStream.range(0, count).boxed().toList());
    Collections.shuffle(order, random);
    TopHits hits = new TopHits(limit);
    order.forEach(index -> hits.offer(index, scores[index]));
    long[] expected =
        IntStream.range(0, count)
            .boxed()
            .sorted(Comparator.comparingDouble(index -> -scores[index]))
            .limit(limit)
            .mapToLong(Integer::longValue)
            .toArray();
    assertThat(hits.floor())
        .isEqualTo(
            expected.length == limit
                ? scores[(int) expected[limit - 1]]
                : Double.NEGATIVE_INFINITY);
    Hits drained = hits.drain();
    assertThat(drained.indices().toArray()).containsExactly(expected);
    for (int i = 0; i < expected.length; i++) {
      assertThat(drained.scores().get(i)).isEqualTo(scores[(int) expected[i]]);
    }
    assertThat(hits.drain().size()).isZero();
  }

  @Test
  void everyLengthIsSummedToItsEnd() {
    for (int length = 1; length < 40; length++) {
      float[] a = new float[length];
      float[] b = new float[length];
      double expected = 0;
      for (int i = 0; i < length; i++) {
        a[i] = i + 1;
        b[i] = 2 * i - 5;
        expected += a[i] * b[i];
      }
      assertThat(InnerProduct.of(InnerProduct.widened(a), b)).isEqualTo(expected);
    }
  }
}
