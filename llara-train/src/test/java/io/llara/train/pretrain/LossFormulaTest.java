package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** How the terms make up the loss, and that its derivatives are those of what is reported. */
class LossFormulaTest {
  private static LossFormula formula(Recipe recipe) {
    return new LossFormula(recipe, recipe.weights());
  }

  @Test
  void releasedDividesByTenAndAverages() {
    LossFormula.Values values =
        formula(Recipe.RELEASED).values(new LossTerms(12, 30, 20), new LossTerms(4, 2, 1));
    assertThat(values.tokens()).isEqualTo(3);
    assertThat(values.self()).isEqualTo(1.5);
    assertThat(values.next()).isEqualTo(2);
    assertThat(values.loss()).isEqualTo(3 + (1.5 + 2) / 2);
  }

  @Test
  void releasedCountsAnEmbeddingThatIsAloneWhole() {
    LossFormula.Values values =
        formula(Recipe.RELEASED).values(new LossTerms(12, 0, 20), new LossTerms(4, 0, 1));
    assertThat(values.self()).isNaN();
    assertThat(values.loss()).isEqualTo(3 + 2);
    assertThat(
            formula(Recipe.RELEASED).values(new LossTerms(12, 0, 0), new LossTerms(4, 0, 0)).loss())
        .isEqualTo(3);
  }

  @Test
  void paperAddsBothEmbeddings() {
    LossFormula.Values values =
        formula(Recipe.PAPER).values(new LossTerms(0, 30, 20), new LossTerms(4, 2, 1));
    assertThat(values.tokens()).isNaN();
    assertThat(values.loss()).isEqualTo(15 + 20);
  }

  @Test
  void weightsMultiplyWhatTermsAdd() {
    LossFormula formula = new LossFormula(Recipe.RELEASED, new LossWeights(0.5, 2, 0));
    LossFormula.Values values = formula.values(new LossTerms(12, 30, 20), new LossTerms(4, 2, 1));
    assertThat(values.next()).isNaN();
    // Reported as they are, weighed in the loss; SELF is alone.
    assertThat(values.tokens()).isEqualTo(3);
    assertThat(values.loss()).isEqualTo(0.5 * 3 + 2 * 1.5);
  }

  @Test
  void aNanShowsInTheLoss() {
    for (Recipe recipe : Recipe.values()) {
      double nan = Double.NaN;
      assertThat(
              formula(recipe).values(new LossTerms(nan, nan, nan), new LossTerms(4, 2, 1)).loss())
          .isNaN();
    }
  }

  @ParameterizedTest
  @EnumSource
  void scalesAreTheDerivativesOfTheLossByTheSums(Recipe recipe) {
    LossFormula formula = new LossFormula(recipe, new LossWeights(0.7, 1.3, 0.4));
    for (LossTerms counts :
        new LossTerms[] {
          new LossTerms(4, 2, 1),
          new LossTerms(4, 0, 3),
          new LossTerms(4, 3, 0),
          new LossTerms(4, 0, 0),
          new LossTerms(0, 2, 2)
        }) {
      LossTerms scales = formula.scales(counts);
      // The loss is linear in the sums. Where there is nothing, sums are zero.
      double[] derivative = new double[3];
      for (int i = 0; i < 3; i++) {
        double[] one = new double[3];
        one[i] = counts.toArray()[i] == 0 ? 0 : 1;
        derivative[i] = formula.values(LossTerms.of(one), counts).loss();
      }
      assertThat(scales.toArray()).containsExactly(derivative, within());
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
  void recipesAreKnownByName() {
    assertThat(Recipe.byName("released")).contains(Recipe.RELEASED);
    assertThat(Recipe.byName("paper")).contains(Recipe.PAPER);
    assertThat(Recipe.byName("lm")).contains(Recipe.LM);
    assertThat(Recipe.byName("LM")).isEmpty();
    for (Recipe recipe : Recipe.values()) {
      assertThat(Recipe.byName(recipe.spelled())).contains(recipe);
    }
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
