package io.llara.train.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.testing.Numbers;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class GradientAccumulatorTest {
  private static final int PARAMETERS = 3;
  private static final int CONTRIBUTORS = 5;
  private static final int ELEMENTS = 7;

  private final List<Parameter> parameters = new ArrayList<>();
  private TensorScope scope;

  @BeforeEach
  void make() {
    scope = new TensorScope();
    for (int i = 0; i < PARAMETERS; i++) {
      parameters.add(
          Parameter.of("p" + i, Tensors.ofFloats(new float[ELEMENTS], ELEMENTS), ScalarType.Float));
    }
  }

  @AfterEach
  void close() {
    scope.close();
    parameters.forEach(Parameter::close);
  }

  /** Sizes so different that the order of a float32 sum shows. */
  private static float[] part(int parameter, int contributor) {
    float[] values = Numbers.random(ELEMENTS, 100 * parameter + contributor);
    for (int i = 0; i < ELEMENTS; i++) {
      values[i] *= (float) Math.pow(10, (contributor + i) % 4);
    }
    return values;
  }

  private static float[] sumInOrder(int parameter) {
    float[] sum = part(parameter, 0);
    for (int contributor = 1; contributor < CONTRIBUTORS; contributor++) {
      float[] more = part(parameter, contributor);
      for (int i = 0; i < ELEMENTS; i++) {
        sum[i] += more[i];
      }
    }
    return sum;
  }

  private static Tensor tensor(float... values) {
    return Tensors.ofFloats(values, values.length);
  }

  private static List<float[]> values(List<Tensor> tensors) {
    return tensors.stream().map(Tensors::toFloats).toList();
  }

  @Test
  void sumsAreTheSameBitsInWhateverOrderThreadsDeliver() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(CONTRIBUTORS);
    AtomicInteger completions = new AtomicInteger();
    try (GradientAccumulator gradients =
        new GradientAccumulator(parameters, (total, index) -> completions.incrementAndGet())) {
      for (int round = 0; round < 30; round++) {
        gradients.begin(CONTRIBUTORS);
        List<Future<?>> running = new ArrayList<>();
        for (int i = 0; i < CONTRIBUTORS; i++) {
          int contributor = i;
          long seed = 1000L * round + i;
          running.add(threads.submit(() -> deliverAll(gradients, contributor, new Random(seed))));
        }
        for (Future<?> one : running) {
          one.get();
        }
        List<float[]> totals = values(gradients.totals());
        for (int i = 0; i < PARAMETERS; i++) {
          assertThat(totals.get(i)).as("round %s, parameter %s", round, i).isEqualTo(sumInOrder(i));
        }
        assertThat(completions.getAndSet(0)).isEqualTo(PARAMETERS);
      }
    } finally {
      threads.shutdown();
    }
  }

  /** As a lane does, at a pace and in an order of its own. */
  private void deliverAll(GradientAccumulator gradients, int contributor, Random random) {
    List<Integer> order = new ArrayList<>(List.of(0, 1, 2));
    Collections.shuffle(order, random);
    GradientSink sink = gradients.contributor(contributor);
    for (int index : order) {
      try (TensorScope inner = new TensorScope()) {
        Thread.sleep(0, random.nextInt(200_000));
        sink.add(parameters.get(index), tensor(part(index, contributor)));
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
    gradients.finished(contributor);
  }

  @Test
  void theOrderOfTheSumIsThatOfTheNumbersAndItWouldShow() {
    float[] backward = part(0, CONTRIBUTORS - 1);
    for (int contributor = CONTRIBUTORS - 2; contributor >= 0; contributor--) {
      for (int i = 0; i < ELEMENTS; i++) {
        backward[i] += part(0, contributor)[i];
      }
    }
    assertThat(backward).isNotEqualTo(sumInOrder(0));
  }

  @Test
  void aMissingGradientIsZeros() {
    List<String> complete = new ArrayList<>();
    try (GradientAccumulator gradients =
        new GradientAccumulator(
            parameters, (total, index) -> complete.add(index + " " + Tensors.toFloats(total)[0]))) {
      gradients.begin(2);
      gradients.contributor(1).add(parameters.get(1), tensor(1, 2, 3, 4, 5, 6, 7));
      gradients.finished(1);
      assertThat(complete).isEmpty();
      gradients.finished(0);
      assertThat(complete).containsExactly("0 0.0", "1 1.0", "2 0.0");
      assertThat(values(gradients.totals()))
          .containsExactly(
              new float[ELEMENTS], new float[] {1, 2, 3, 4, 5, 6, 7}, new float[ELEMENTS]);
    }
  }

  @Test
  void aTotalIsToldAsSoonAsItsLastPartCame() {
    List<Integer> complete = new ArrayList<>();
    try (GradientAccumulator gradients =
        new GradientAccumulator(parameters, (total, index) -> complete.add(index))) {
      gradients.begin(2);
      gradients.contributor(0).add(parameters.get(2), tensor(part(2, 0)));
      gradients.contributor(0).add(parameters.get(0), tensor(part(0, 0)));
      assertThat(complete).isEmpty();
      gradients.contributor(1).add(parameters.get(2), tensor(part(2, 1)));
      assertThat(complete).containsExactly(2);
      gradients.contributor(1).add(parameters.get(0), tensor(part(0, 1)));
      assertThat(complete).containsExactly(2, 0);
    }
  }

  @Test
  void aStepBeginsWithNothing() {
    try (GradientAccumulator gradients =
        new GradientAccumulator(parameters, (total, index) -> {})) {
      gradients.begin(1);
      gradients.contributor(0).add(parameters.get(0), tensor(part(0, 0)));
      gradients.finished(0);
      gradients.begin(1);
      gradients.contributor(0).add(parameters.get(0), tensor(part(0, 1)));
      gradients.finished(0);
      assertThat(Tensors.toFloats(gradients.totals().get(0))).isEqualTo(part(0, 1));
    }
  }

  @Test
  void gradientsInBfloat16AreSummedInFloat32() {
    try (GradientAccumulator gradients =
        new GradientAccumulator(parameters, (total, index) -> {})) {
      gradients.begin(2);
      // 256 + 1 is no bfloat16.
      for (int i = 0; i < 2; i++) {
        float value = i == 0 ? 256 : 1;
        gradients
            .contributor(i)
            .add(
                parameters.get(0),
                tensor(value, value, value, value, value, value, value).to(ScalarType.BFloat16));
        gradients.finished(i);
      }
      assertThat(Tensors.toFloats(gradients.totals().get(0))).containsOnly(257);
    }
  }

  @Test
  void aSecondGradientOfOneContributorIsRefused() {
    try (GradientAccumulator gradients =
        new GradientAccumulator(parameters, (total, index) -> {})) {
      gradients.begin(2);
      GradientSink sink = gradients.contributor(1);
      sink.add(parameters.get(0), tensor(part(0, 0)));
      assertThatThrownBy(() -> sink.add(parameters.get(0), tensor(part(0, 0))))
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("contributor 1 gave a second gradient of p0");
      gradients.finished(1);
      assertThatThrownBy(() -> sink.add(parameters.get(1), tensor(part(1, 0))))
          .isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void totalsAreThereOnceAllHaveFinished() {
    try (GradientAccumulator gradients =
        new GradientAccumulator(parameters, (total, index) -> {})) {
      gradients.begin(2);
      gradients.contributor(0).add(parameters.get(0), tensor(part(0, 0)));
      gradients.finished(0);
      assertThatThrownBy(gradients::totals)
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("the gradient of p0 is not final");
      gradients.finished(1);
      assertThat(gradients.totals()).hasSize(PARAMETERS);
    }
  }

  @Test
  void aParameterThatIsNotOneOfThemIsNamed() {
    try (GradientAccumulator gradients =
            new GradientAccumulator(parameters.subList(0, 1), (total, index) -> {});
        NoGradGuard noGrad = new NoGradGuard()) {
      gradients.begin(1);
      assertThatThrownBy(() -> gradients.contributor(0).add(parameters.get(2), tensor(part(2, 0))))
          .hasMessage("p2 is not one of the parameters");
    }
  }

  @Test
  void whatAContributorGaveUpIsFreed() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope inner = new TensorScope();
              GradientAccumulator gradients =
                  new GradientAccumulator(parameters, (total, index) -> {})) {
            gradients.begin(3);
            // One waits for the first, the other is a sum begun.
            gradients.contributor(2).add(parameters.get(0), tensor(part(0, 2)));
            gradients.contributor(0).add(parameters.get(1), tensor(part(1, 0)));
            gradients.begin(2);
            gradients.contributor(1).add(parameters.get(0), tensor(part(0, 2)));
            gradients.contributor(0).add(parameters.get(1), tensor(part(1, 0)));
          }
        });
  }

  @Test
  void totalsAreSafeFromTheScopesOfTheThreadsThatGaveThem() {
    ConcurrentLinkedQueue<Tensor> told = new ConcurrentLinkedQueue<>();
    try (GradientAccumulator gradients =
        new GradientAccumulator(parameters, (total, index) -> told.add(total))) {
      gradients.begin(1);
      try (TensorScope inner = new TensorScope()) {
        gradients.contributor(0).add(parameters.get(0), tensor(part(0, 0)));
      }
      gradients.finished(0);
      assertThat(Tensors.toFloats(told.remove())).isEqualTo(part(0, 0));
    }
  }
}
