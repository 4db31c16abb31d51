package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.entry;

import java.util.Map;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** How the terms make up the loss, and that its derivatives are those of what is reported. */
class AdaptationObjectiveTest {
  private static Map<String, Double> terms(Recipe recipe, double[] sums, double... counts) {
    return AdaptationObjective.terms(recipe, recipe.weights(), sums, counts);
  }

  private static double[] sums(double... sums) {
    return sums;
  }

  @Test
  void releasedDividesByTenAndAverages() {
    assertThat(terms(Recipe.RELEASED, sums(12, 30, 20), 4, 2, 1))
        .containsExactly(
            entry("loss", 3 + (1.5 + 2) / 2),
            entry("ar_loss", 3.0),
            entry("self_loss", 1.5),
            entry("next_loss", 2.0));
  }

  @Test
  void releasedCountsAnEmbeddingThatIsAloneWhole() {
    assertThat(terms(Recipe.RELEASED, sums(12, 0, 20), 4, 0, 1))
        .containsExactly(entry("loss", 3.0 + 2), entry("ar_loss", 3.0), entry("next_loss", 2.0));
    assertThat(terms(Recipe.RELEASED, sums(12, 0, 0), 4, 0, 0))
        .containsExactly(entry("loss", 3.0), entry("ar_loss", 3.0));
  }

  @Test
  void paperAddsBothEmbeddings() {
    assertThat(terms(Recipe.PAPER, sums(0, 30, 20), 4, 2, 1))
        .containsExactly(
            entry("loss", 15.0 + 20), entry("self_loss", 15.0), entry("next_loss", 20.0));
  }

  @Test
  void weightsMultiplyWhatTermsAdd() {
    LossWeights weights = new LossWeights(0.5, 2, 0);
    // Reported as they are, weighted in the loss; SELF is alone.
    assertThat(
            AdaptationObjective.terms(
                Recipe.RELEASED, weights, sums(12, 30, 20), new double[] {4, 2, 1}))
        .containsExactly(
            entry("loss", 0.5 * 3 + 2 * 1.5), entry("ar_loss", 3.0), entry("self_loss", 1.5));
  }

  @Test
  void aNanShowsInTheLoss() {
    for (Recipe recipe : Recipe.values()) {
      double nan = Double.NaN;
      assertThat(terms(recipe, sums(nan, nan, nan), 4, 2, 1).get("loss")).isNaN();
    }
  }

  @ParameterizedTest
  @EnumSource
  void scalesAreTheDerivativesOfTheLossByTheSums(Recipe recipe) {
    LossWeights weights = new LossWeights(0.7, 1.3, 0.4);
    for (double[] counts : new double[][] {{4, 2, 1}, {4, 0, 3}, {4, 3, 0}, {4, 0, 0}, {0, 2, 2}}) {
      double[] scales = AdaptationObjective.scales(recipe, weights, counts);
      // The loss is linear in the sums. Where there is nothing, sums are zero.
      double[] derivative = new double[3];
      for (int i = 0; i < 3; i++) {
        double[] one = new double[3];
        one[i] = counts[i] == 0 ? 0 : 1;
        derivative[i] = AdaptationObjective.terms(recipe, weights, one, counts).get("loss");
      }
      assertThat(scales).containsExactly(derivative, within());
    }
  }

  private static Offset<Double> within() {
    return Offset.offset(1e-12);
  }

  @ParameterizedTest
  @ValueSource(doubles = {-1, Double.NaN, Double.POSITIVE_INFINITY})
  void aWeightIsZeroOrMore(double weight) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new LossWeights(1, 1, weight))
        .withMessageContaining("next");
  }

  @Test
  void oneWeightIsMoreThanZero() {
    assertThatIllegalArgumentException().isThrownBy(() -> new LossWeights(0, 0, 0));
  }

  @Test
  void bagsAreMadeAsTheRecipeSays() {
    int[] targets = {1, 5, 5, 2, 9};
    assertThat(Recipe.RELEASED.bag(targets, 1).size()).isEqualTo(2);
    Bag paper = Recipe.PAPER.bag(targets, 1);
    // All but the first: 2, 5 twice, 9.
    assertThat(paper.size()).isEqualTo(3);
    assertThat(paper.weight(1)).isEqualTo(0.5);
    assertThat(Recipe.PAPER.bag(new int[] {1}, 1).isEmpty()).isTrue();
    assertThat(Recipe.PAPER.bag(new int[0], 1).isEmpty()).isTrue();
  }
}
