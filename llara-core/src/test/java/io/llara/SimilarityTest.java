package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

class SimilarityTest {

  @Test
  void theCosineIsThatOfTheAngle() {
    assertThat(Similarity.cosine(new float[] {1, 0}, new float[] {3, 3}))
        .isCloseTo(Math.sqrt(0.5), within(1e-12));
    assertThat(Similarity.cosine(new float[] {1, 2}, new float[] {-2, -4}))
        .isCloseTo(-1, within(1e-12));
  }

  @Test
  void theCosineOfLargeVectorsDoesNotOverflow() {
    float[] large = {Float.MAX_VALUE, Float.MAX_VALUE};

    assertThat(Similarity.cosine(large, large)).isCloseTo(1, within(1e-12));
  }

  @Test
  void theInnerProductIsSummedInDoublePrecision() {
    assertThat(Similarity.dot(new float[] {1e8f, 1, -1e8f}, new float[] {1, 1, 1})).isEqualTo(1);
  }

  @Test
  void vectorsThatDoNotFitAreRefused() {
    for (float[] other : List.of(new float[0], new float[1], new float[3])) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> Similarity.dot(new float[2], other))
          .withMessageContainingAll("2", String.valueOf(other.length));
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Similarity.dot(new float[0], new float[0]));
  }

  @Test
  void theCosineOfNoDirectionIsRefused() {
    for (float[] other :
        List.of(
            new float[2], new float[] {Float.NaN, 1}, new float[] {1, Float.POSITIVE_INFINITY})) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> Similarity.cosine(new float[] {1, 2}, other));
    }
  }

  @Test
  void pairsAreEqualByTheirContent() {
    EmbeddingPair pair = new EmbeddingPair(new float[] {1}, new float[] {2});

    assertThat(pair)
        .isEqualTo(new EmbeddingPair(new float[] {1}, new float[] {2}))
        .hasSameHashCodeAs(new EmbeddingPair(new float[] {1}, new float[] {2}))
        .isNotEqualTo(new EmbeddingPair(new float[] {2}, new float[] {1}));
    assertThat(pair.get(Mode.SELF)).containsExactly(1);
    assertThat(pair.get(Mode.NEXT)).containsExactly(2);
  }
}
