package io.llara.examples.search;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.examples.search.BestPassages.Hit;
import org.junit.jupiter.api.Test;

class BestPassagesTest {

  @Test
  void keepsTheNearestAndOfEqualOnesTheEarlier() {
    BestPassages best = new BestPassages(new float[] {1, 0}, 3);
    float[][] vectors = {{0, 1}, {3, 4}, {2, 0}, {6, 8}, {-1, 0}, {1, 0}, {12, 16}};
    for (int i = 0; i < vectors.length; i++) {
      best.offer(i, vectors[i]);
    }
    assertThat(best.ranked().stream().map(Hit::index)).containsExactly(2L, 5L, 1L);
    best.clear();
    assertThat(best.ranked()).isEmpty();
  }
}
