package io.llara.retrieval.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.google.common.primitives.ImmutableDoubleArray;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class PairedTestTest {

  /** Ten differences of 1 to 10 and their t: mean 5.5, standard deviation 3.02765. */
  @Test
  void isStudentsTest() {
    double[] second = new double[10];
    double[] first = new double[10];
    for (int i = 0; i < 10; i++) {
      second[i] = i * i;
      first[i] = i * i + i + 1;
    }
    PairedTest test = test(first, second);
    assertThat(test.queries()).isEqualTo(10);
    assertThat(test.meanDifference()).isCloseTo(5.5, within(1e-12));
    assertThat(test.t()).isCloseTo(5.5 / (3.0276503540974917 / Math.sqrt(10)), within(1e-9));
    // R: t.test(1:10)$p.value
    assertThat(test.pValue()).isCloseTo(0.000278196, within(1e-9));
    // All signs equal: two of 1,024 assignments are as extreme.
    assertThat(test.randomisationPValue()).isCloseTo(2 / 1024.0, within(0.0015));
    PairedTest reversed = test(second, first);
    assertThat(reversed.t()).isEqualTo(-test.t());
    assertThat(reversed.pValue()).isEqualTo(test.pValue());
  }

  /** All assignments of signs of a few differences, against ten thousand random ones. */
  @Test
  void theRandomisationTestNearsTheExactOne() {
    double[] differences = {0.5, -0.25, 0.75, 0.125, 0.25, -0.125, 0.5, 0.0, 0.25, 0.375};
    double seen = 0;
    for (double difference : differences) {
      seen += difference;
    }
    int asLarge = 0;
    for (int signs = 0; signs < 1 << differences.length; signs++) {
      double sum = 0;
      for (int i = 0; i < differences.length; i++) {
        sum += (signs >> i & 1) == 0 ? differences[i] : -differences[i];
      }
      asLarge += Math.abs(sum) >= seen ? 1 : 0;
    }
    double exact = asLarge / (double) (1 << differences.length);
    assertThat(test(differences, new double[differences.length]).randomisationPValue())
        .isCloseTo(exact, within(4 * Math.sqrt(exact / 10_000)));
  }

  @Test
  void theSameValuesGiveTheSame() {
    Random random = new Random(5);
    double[] first = random.doubles(225).toArray();
    double[] second = random.doubles(225).toArray();
    assertThat(test(first, second)).isEqualTo(test(first.clone(), second.clone()));
    assertThat(test(first, second).randomisationPValue())
        .isCloseTo(test(first, second).pValue(), within(0.03));
  }

  @Test
  void degenerateCases() {
    assertThat(test(new double[] {0.5, 0.25}, new double[] {0.5, 0.25}))
        .isEqualTo(new PairedTest(2, 0, 0, 1, 1));
    PairedTest constant = test(new double[] {1, 1, 1}, new double[] {0.5, 0.5, 0.5});
    assertThat(constant.t()).isEqualTo(Double.POSITIVE_INFINITY);
    assertThat(constant.pValue()).isZero();
    assertThat(constant.randomisationPValue()).isCloseTo(0.25, within(0.02));
    assertThat(PairedTest.of(values(1), values(0))).isEmpty();
    assertThat(PairedTest.of(values(), values())).isEmpty();
    assertThatThrownBy(() -> PairedTest.of(values(1, 2), values(1)))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void bothRunsMustBeOfTheSameQueries() {
    List<Metric> metrics = List.of(Metric.map());
    Run run = new Run("r", Map.of());
    Evaluation one = Evaluation.of(run, Qrels.of(Map.of("q1", Map.of("a", 1))), metrics);
    Evaluation other = Evaluation.of(run, Qrels.of(Map.of("q2", Map.of("a", 1))), metrics);
    assertThatThrownBy(() -> PairedTest.of(one, other, Metric.map()))
        .hasMessageContaining("different queries");
    assertThat(PairedTest.of(one, one, Metric.map())).isEmpty();
  }

  private static PairedTest test(double[] first, double[] second) {
    return PairedTest.of(values(first), values(second)).orElseThrow();
  }

  private static ImmutableDoubleArray values(double... values) {
    return ImmutableDoubleArray.copyOf(values);
  }
}
