package io.llara.train.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.LlaraException;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.autograd.Parameter;
import io.llara.train.distributed.Lanes;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AdamWTest {
  private static final AdamW.Settings DECAYING = new AdamW.Settings(0.9, 0.95, 1e-8, 0.1);

  /** Sizes below, at and beyond vector registers and a thread's share of work. */
  private static final int[] SIZES = {1, 3, 16, 1000, 70_001};

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  private Lanes lanes = new Lanes(1);

  @AfterEach
  void close() {
    lanes.close();
  }

  private void useLanes(int count) {
    lanes.close();
    lanes = new Lanes(count);
  }

  private AdamW adamW(List<Parameter> parameters, AdamW.Settings settings) {
    return new AdamW(parameters, settings, lanes);
  }

  private static Parameter parameter(String name, Tensor value) {
    return Parameter.of(name, value, ScalarType.Float);
  }

  private static float[] values(Parameter parameter) {
    return Tensors.toFloats(parameter.master().detach());
  }

  /** The equations in double precision, one element at a time. */
  private static final class Reference {
    final double[] p;
    final double[] m;
    final double[] v;
    int t;

    Reference(float[] start) {
      p = new double[start.length];
      for (int i = 0; i < p.length; i++) {
        p[i] = start[i];
      }
      m = new double[p.length];
      v = new double[p.length];
    }

    void step(float[] g, double rate, AdamW.Settings s) {
      t++;
      for (int i = 0; i < p.length; i++) {
        p[i] -= rate * s.weightDecay() * p[i];
        m[i] = s.beta1() * m[i] + (1 - s.beta1()) * g[i];
        v[i] = s.beta2() * v[i] + (1 - s.beta2()) * g[i] * g[i];
        double mean = m[i] / (1 - Math.pow(s.beta1(), t));
        double square = v[i] / (1 - Math.pow(s.beta2(), t));
        p[i] -= rate * mean / (Math.sqrt(square) + s.eps());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void theEquationsInDoublePrecision(int count) {
    useLanes(count);
    Random random = new Random(1);
    try (TensorScope scope = new TensorScope()) {
      List<Parameter> parameters = new ArrayList<>();
      List<Reference> references = new ArrayList<>();
      for (int size : SIZES) {
        float[] start = normal(random, size, 1);
        references.add(new Reference(start));
        parameters.add(parameter("of " + size, Tensors.ofFloats(start, size)));
      }
      try (AdamW adam = adamW(parameters, DECAYING)) {
        for (int step = 1; step <= 20; step++) {
          double rate = 1e-3 * step;
          List<Tensor> gradients = new ArrayList<>();
          for (int i = 0; i < SIZES.length; i++) {
            // From one step to the next very different, and some of them all zero.
            float[] gradient =
                normal(random, SIZES[i], step % 5 == 0 ? 0 : Math.pow(10, -step % 7));
            references.get(i).step(gradient, rate, DECAYING);
            gradients.add(Tensors.ofFloats(gradient, SIZES[i]));
          }
          adam.step(gradients, rate);
        }
        assertThat(adam.steps()).isEqualTo(20);
      }
      for (int i = 0; i < SIZES.length; i++) {
        float[] found = values(parameters.get(i));
        double[] expected = references.get(i).p;
        double worst = 0;
        for (int j = 0; j < found.length; j++) {
          worst = Math.max(worst, Math.abs(found[j] - expected[j]));
        }
        // Half a unit of the last place at 4, twenty times over, is 5e-6.
        assertThat(worst).as("of %d elements", found.length).isLessThan(5e-6);
        assertThat(parameters.get(i).leaf().requires_grad()).isTrue();
        assertThat(parameters.get(i).leaf().is_leaf()).isTrue();
      }
    }
  }

  /** Made by {@code torch.optim.AdamW} of Python's torch 2.10.0, plain and fused alike. */
  @Test
  void whatPythonGives() {
    try (TensorScope scope = new TensorScope()) {
      Parameter parameter = parameter("w", Tensors.ofFloats(new float[] {1, -2, 0.5f, 0}, 2, 2));
      try (AdamW adam = adamW(List.of(parameter), new AdamW.Settings(0.9, 0.999, 1e-8, 0.01))) {
        for (int step = 1; step <= 3; step++) {
          Tensor gradient =
              Tensors.ofFloats(new float[] {0.1f * step, -3, 1e-6f / step, step - 2}, 2, 2);
          adam.step(List.of(gradient), 0.01);
        }
      }
      float[] expected = {0.97047108f, -1.969403f, 0.47214273f, 0.01583923f};
      assertThat(values(parameter)).containsExactly(expected, within(2e-7f));
    }
  }

  @Test
  void theSameBitsWithAnyNumberOfLanes() {
    float[][][] runs = new float[3][][];
    for (int run = 0; run < runs.length; run++) {
      useLanes(run + 1);
      try (TensorScope scope = new TensorScope()) {
        List<Parameter> parameters = new ArrayList<>();
        List<Tensor> gradients = new ArrayList<>();
        Random random = new Random(7);
        for (int size : SIZES) {
          parameters.add(parameter("of " + size, Tensors.ofFloats(normal(random, size, 1), size)));
          gradients.add(Tensors.ofFloats(normal(random, size, 0.1), size));
        }
        try (AdamW adam = adamW(parameters, DECAYING)) {
          for (int step = 0; step < 5; step++) {
            adam.step(gradients, 1e-3);
          }
        }
        runs[run] = parameters.stream().map(AdamWTest::values).toArray(float[][]::new);
        parameters.forEach(Parameter::close);
      }
    }
    assertThat(runs[1]).isDeepEqualTo(runs[0]);
    assertThat(runs[2]).isDeepEqualTo(runs[0]);
  }

  @Test
  void aGradientInAnotherMemoryOrderIsReadByItsShape() {
    try (TensorScope scope = new TensorScope()) {
      Parameter parameter = parameter("w", Tensors.ofFloats(new float[6], 2, 3));
      Tensor transposed = Tensors.ofFloats(new float[] {1, -1, -1, 1, 1, 1}, 3, 2).t();
      try (AdamW adam = adamW(List.of(parameter), AdamW.Settings.DEFAULT)) {
        adam.step(List.of(transposed), 0.5);
      }
      assertThat(values(parameter))
          .containsExactly(new float[] {-0.5f, 0.5f, -0.5f, 0.5f, -0.5f, -0.5f}, within(1e-6f));
    }
  }

  @Test
  void nothingIsRecordedThoughAutogradIsOn() {
    try (TensorScope scope = new TensorScope();
        AutoGradMode grad = new AutoGradMode(true)) {
      Parameter parameter = parameter("w", Tensors.ofFloats(new float[] {1, 2}, 2));
      Tensor leaf = parameter.leaf();
      leaf.mul(leaf).sum().backward();
      try (AdamW adam = adamW(List.of(parameter), DECAYING)) {
        adam.step(List.of(leaf.grad()), 0.1);
        assertThat(adam.state().get("exp_avg/w").requires_grad()).isFalse();
      }
      assertThat(leaf.is_leaf()).isTrue();
      assertThat(values(parameter)[0]).isLessThan(1);
      // And autograd goes on from the new values.
      leaf.mul(leaf).sum().backward();
    }
  }

  @Test
  void goesOnWhereAnotherWasToTheBit() {
    try (TensorScope scope = new TensorScope()) {
      List<Parameter> whole = twoParameters();
      try (AdamW adam = adamW(whole, DECAYING)) {
        steps(adam, 0, 6);
      }
      List<Parameter> broken = twoParameters();
      Map<String, float[]> saved = new HashMap<>();
      try (AdamW adam = adamW(broken, DECAYING)) {
        steps(adam, 0, 4);
        adam.state().forEach((name, tensor) -> saved.put(name, Tensors.toFloats(tensor)));
      }
      assertThat(saved).containsOnlyKeys("exp_avg/a", "exp_avg/b", "exp_avg_sq/a", "exp_avg_sq/b");
      try (AdamW adam = adamW(broken, DECAYING)) {
        adam.restore(4, name -> owned(saved.get(name), name.endsWith("a") ? 5 : 7));
        assertThat(adam.steps()).isEqualTo(4);
        steps(adam, 4, 6);
      }
      for (int i = 0; i < 2; i++) {
        assertThat(values(broken.get(i))).isEqualTo(values(whole.get(i)));
      }
    }
  }

  @Test
  void stateThatDoesNotFitIsNamed() {
    try (TensorScope scope = new TensorScope();
        AdamW adam = adamW(twoParameters(), DECAYING)) {
      assertThatThrownBy(() -> adam.restore(1, name -> owned(new float[4], 4)))
          .isInstanceOf(LlaraException.class)
          .hasMessage("optimiser state exp_avg/b is Float [4]; expected Float [7]");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> adam.restore(-1, name -> owned(new float[4], 4)));
    }
  }

  @Test
  void whatDoesNotFitIsRefusedAndMovesNothing() {
    try (TensorScope scope = new TensorScope()) {
      List<Parameter> parameters = twoParameters();
      float[] before = values(parameters.get(0));
      try (AdamW adam = adamW(parameters, DECAYING)) {
        Tensor five = Tensors.ofFloats(new float[5], 5);
        Tensor seven = Tensors.ofFloats(new float[7], 7);
        assertThatIllegalArgumentException()
            .isThrownBy(() -> adam.step(List.of(five), 0.1))
            .withMessage("there are 1 gradients for 2 parameters");
        assertThatIllegalArgumentException()
            .isThrownBy(() -> adam.step(List.of(five, five), 0.1))
            .withMessage("gradient 1 has shape [5]; its parameter has [7]");
        assertThatIllegalArgumentException()
            .isThrownBy(() -> adam.step(List.of(five, seven.to(ScalarType.BFloat16)), 0.1))
            .withMessage("gradient 1 is BFloat16; expected Float");
        for (double rate : new double[] {Double.NaN, -1, Double.POSITIVE_INFINITY}) {
          assertThatIllegalArgumentException()
              .isThrownBy(() -> adam.step(List.of(five, seven), rate))
              .withMessageStartingWith("learning rate is " + rate);
        }
        assertThat(adam.steps()).isZero();
        assertThat(values(parameters.get(0))).isEqualTo(before);
      }
      assertThatIllegalArgumentException().isThrownBy(() -> adamW(List.of(), DECAYING));
    }
  }

  @Test
  void settingsAreChecked() {
    assertThatIllegalArgumentException().isThrownBy(() -> new AdamW.Settings(1, 0.9, 0, 0));
    assertThatIllegalArgumentException().isThrownBy(() -> new AdamW.Settings(0.9, -0.1, 0, 0));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new AdamW.Settings(0.9, 0.9, Double.NaN, 0));
    assertThatIllegalArgumentException().isThrownBy(() -> new AdamW.Settings(0.9, 0.9, 0, -1));
  }

  @Test
  void useAfterCloseIsRefused() {
    try (TensorScope scope = new TensorScope()) {
      AdamW adam = adamW(twoParameters(), DECAYING);
      adam.close();
      adam.close();
      assertThatIllegalStateException().isThrownBy(() -> adam.step(List.of(), 0.1));
      assertThatIllegalStateException().isThrownBy(() -> adam.state());
    }
  }

  @Test
  void nothingStaysAlive() throws Throwable {
    Leaks.assertNone(
        () -> {
          List<Parameter> stepped = twoParameters();
          try (TensorScope scope = new TensorScope();
              AdamW adam = adamW(stepped, DECAYING)) {
            steps(adam, 0, 3);
            assertThatIllegalArgumentException().isThrownBy(() -> adam.step(List.of(), 1));
          }
          stepped.forEach(Parameter::close);
          List<Parameter> parameters = twoParameters();
          adamW(parameters, DECAYING).close();
          parameters.forEach(Parameter::close);
        });
  }

  private static List<Parameter> twoParameters() {
    Random random = new Random(3);
    try (TensorScope scope = new TensorScope()) {
      return List.of(
          parameter("a", Tensors.ofFloats(normal(random, 5, 1), 5)),
          parameter("b", Tensors.ofFloats(normal(random, 7, 1), 7)));
    }
  }

  private static void steps(AdamW adam, int from, int to) {
    for (int step = from; step < to; step++) {
      try (TensorScope scope = new TensorScope()) {
        Random random = new Random(100 + step);
        adam.step(
            List.of(
                Tensors.ofFloats(normal(random, 5, 1), 5),
                Tensors.ofFloats(normal(random, 7, 1), 7)),
            0.01);
      }
    }
  }

  private static Tensor owned(float[] values, long... shape) {
    try (TensorScope scope = new TensorScope()) {
      return scope.own(Tensors.ofFloats(values, shape));
    }
  }

  private static float[] normal(Random random, int size, double scale) {
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = (float) (random.nextGaussian() * scale);
    }
    return values;
  }
}
