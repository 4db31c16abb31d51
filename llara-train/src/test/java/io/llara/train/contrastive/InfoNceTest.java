package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.contrastive.InfoNce.Sums;
import io.llara.train.contrastive.InfoNce.Targets;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import java.util.Arrays;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class InfoNceTest {
  private static final int HIDDEN = 5;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  private record Result(Sums sums, float[] queries, float[] passages) {}

  private static Result differentiate(
      InfoNce loss, float[] queries, float[] passages, Targets targets, double scale) {
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor q = Tensors.ofFloats(queries, queries.length / HIDDEN, HIDDEN);
      Tensor p = Tensors.ofFloats(passages, passages.length / HIDDEN, HIDDEN);
      InfoNce.Differentiated result =
          loss.differentiate(q, p, targets, new InfoNce.Scale(scale, 0, 0));
      assertThat(loss.losses(q, p, targets)).isEqualTo(result.sums());
      return new Result(
          result.sums(),
          Tensors.toFloats(result.queryGradient()),
          Tensors.toFloats(result.passageGradient()));
    }
  }

  private static double[][] rows(float[] values) {
    double[][] rows = new double[values.length / HIDDEN][HIDDEN];
    for (int i = 0; i < values.length; i++) {
      rows[i / HIDDEN][i % HIDDEN] = values[i];
    }
    return rows;
  }

  @ParameterizedTest
  @CsvSource({"true, 0.02", "true, 1", "false, 1", "false, 0.1", "false, 5"})
  void lossAndGradientsAreThoseOfTheDefinition(boolean normalized, double temperature) {
    int group = 3;
    float[] queries = Numbers.random(4 * HIDDEN, 1);
    float[] passages = Numbers.random(4 * group * HIDDEN, 2);

    Result result =
        differentiate(
            new InfoNce(temperature, normalized),
            queries,
            passages,
            new Targets(0, group),
            1.0 / 4);

    double[][] q = rows(queries);
    double[][] p = rows(passages);
    double expected = ReferenceInfoNce.loss(q, p, group, temperature, normalized);
    assertThat(result.sums().loss() / 4).isCloseTo(expected, within(1e-5 * expected));
    for (double[][] side : new double[][][] {q, p}) {
      float[] gradient = side == q ? result.queries() : result.passages();
      float[] differences = new float[gradient.length];
      for (int i = 0; i < gradient.length; i++) {
        double step = 1e-5;
        double value = side[i / HIDDEN][i % HIDDEN];
        side[i / HIDDEN][i % HIDDEN] = value + step;
        double above = ReferenceInfoNce.loss(q, p, group, temperature, normalized);
        side[i / HIDDEN][i % HIDDEN] = value - step;
        double below = ReferenceInfoNce.loss(q, p, group, temperature, normalized);
        side[i / HIDDEN][i % HIDDEN] = value;
        differences[i] = (float) ((above - below) / (2 * step));
      }
      Numbers.assertClose("gradient", gradient, differences, 2e-5);
    }
  }

  @Test
  void aTemperatureOfEmbeddingsThatAreNotNormalisedIsMeant() {
    float[] queries = Numbers.random(2 * HIDDEN, 1);
    float[] passages = Numbers.random(4 * HIDDEN, 2);
    Targets targets = new Targets(0, 2);
    Result one = differentiate(new InfoNce(1, false), queries, passages, targets, 1);
    Result other = differentiate(new InfoNce(0.02, false), queries, passages, targets, 1);
    assertThat(other.sums().loss()).isNotCloseTo(one.sums().loss(), within(0.1));
  }

  /** Every query against passages that start with others: a process of several. */
  @Test
  void queriesOfOneProcessMakeUpTheirPartOfTheWhole() {
    InfoNce loss = new InfoNce(0.1, true);
    float[] queries = Numbers.random(6 * HIDDEN, 1);
    float[] passages = Numbers.random(12 * HIDDEN, 2);
    Result whole = differentiate(loss, queries, passages, new Targets(0, 2), 0.5);
    float[] first = Arrays.copyOf(queries, 2 * HIDDEN);
    float[] rest = Arrays.copyOfRange(queries, 2 * HIDDEN, 6 * HIDDEN);
    Result a = differentiate(loss, first, passages, new Targets(0, 2), 0.5);
    Result b = differentiate(loss, rest, passages, new Targets(4, 2), 0.5);

    Sums sums = a.sums().plus(b.sums());
    assertThat(sums.loss()).isCloseTo(whole.sums().loss(), within(1e-5));
    assertThat(sums.hits()).isEqualTo(whole.sums().hits());
    float[] together = a.passages();
    for (int i = 0; i < together.length; i++) {
      together[i] += b.passages()[i];
    }
    Numbers.assertClose("passages", together, whole.passages(), 1e-5);
    Numbers.assertClose(
        "queries", b.queries(), Arrays.copyOfRange(whole.queries(), 2 * HIDDEN, 6 * HIDDEN), 1e-5);
  }

  /** More scores than exist at a time. */
  @Test
  void manyPassagesAreTakenInPieces() {
    InfoNce loss = new InfoNce(0.5, true);
    int count = 1 << 17;
    float[] queries = Numbers.random(10 * HIDDEN, 1);
    float[] passages = Numbers.random(count * HIDDEN, 2);
    Result whole = differentiate(loss, queries, passages, new Targets(0, 3), 1);
    double sum = 0;
    float[] gradients = new float[10 * HIDDEN];
    for (int i = 0; i < 10; i++) {
      float[] query = Arrays.copyOfRange(queries, i * HIDDEN, (i + 1) * HIDDEN);
      Result one = differentiate(loss, query, passages, new Targets(3 * i, 3), 1);
      sum += one.sums().loss();
      System.arraycopy(one.queries(), 0, gradients, i * HIDDEN, HIDDEN);
    }
    assertThat(whole.sums().loss()).isCloseTo(sum, within(1e-4));
    Numbers.assertClose("queries", whole.queries(), gradients, 1e-5);
  }

  @Test
  void aSmallLossIsNoDifferenceOfLargeNumbers() {
    // Scores of 50 and 37: the loss is e^-13.
    float[] query = {1, 0, 0, 0, 0};
    float[] passages = {1, 0, 0, 0, 0, 0.74f, (float) Math.sqrt(1 - 0.74 * 0.74), 0, 0, 0};
    Result result = differentiate(new InfoNce(0.02, true), query, passages, new Targets(0, 2), 1);
    double expected = Math.log1p(Math.exp((0.74 - 1) / 0.02));
    assertThat(result.sums().loss()).isCloseTo(expected, within(0.06 * expected));
    assertThat(result.sums().hits()).isEqualTo(1);
    assertThat(Numbers.largest(result.queries())).isPositive();
  }

  @Test
  void onlyAPositiveAboveAllOthersIsAHit() {
    InfoNce loss = new InfoNce(1, false);
    float[] query = {1, 0, 0, 0, 0};
    float[] better = {3, 0, 0, 0, 0, 2, 0, 0, 0, 0};
    float[] same = {2, 0, 0, 0, 0, 2, 0, 0, 0, 0};
    assertThat(differentiate(loss, query, better, new Targets(0, 2), 1).sums().hits()).isOne();
    assertThat(differentiate(loss, query, better, new Targets(1, 2), 1).sums().hits()).isZero();
    assertThat(differentiate(loss, query, same, new Targets(0, 2), 1).sums().hits()).isZero();
  }

  @Test
  void whatIsNoNumberStaysNoNumber() {
    float[] query = {Float.NaN, 0, 0, 0, 0};
    float[] passages = Numbers.random(2 * HIDDEN, 2);
    Result result = differentiate(new InfoNce(0.02, true), query, passages, new Targets(0, 2), 1);
    assertThat(result.sums().loss()).isNaN();
    assertThat(result.sums().hits()).isZero();
    assertThat(result.passages()[0]).isNaN();
  }

  @Test
  void aVectorOfLengthZeroHasAGradientThatIsANumber() {
    float[] query = new float[HIDDEN];
    float[] passages = Numbers.random(2 * HIDDEN, 2);
    Result result = differentiate(new InfoNce(0.02, true), query, passages, new Targets(0, 2), 1);
    assertThat(result.sums().loss()).isCloseTo(Math.log(2), within(1e-6));
    for (float value : result.queries()) {
      assertThat(value).isFinite();
    }
  }

  @Test
  void leavesNothing() throws Throwable {
    float[] queries = Numbers.random(4 * HIDDEN, 1);
    float[] passages = Numbers.random(8 * HIDDEN, 2);
    Leaks.assertNone(
        () -> differentiate(new InfoNce(0.02, true), queries, passages, new Targets(0, 2), 1));
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, -1, Double.NaN, Double.POSITIVE_INFINITY})
  void refusesATemperatureThatDividesNothing(double temperature) {
    assertThatThrownBy(() -> new InfoNce(temperature, true))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("temperature");
  }
}
