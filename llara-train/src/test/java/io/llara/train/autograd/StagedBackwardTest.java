package io.llara.train.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import io.llara.train.testing.NativeThreads;
import io.llara.train.testing.Numbers;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The protocol; that it computes what one recorded pass does is shown on a model, elsewhere. */
class StagedBackwardTest {
  private static final int WIDTH = 3;
  private static final int ROWS = 2;

  private final List<String> events = new ArrayList<>();
  private final List<Parameter> made = new ArrayList<>();

  /** The name of the stage that fails from now on. */
  private String broken = "";

  private NoGradGuard noGrad;
  private TensorScope scope;

  @BeforeAll
  static void oneThread() {
    NativeThreads.one();
  }

  @BeforeEach
  void begin() {
    noGrad = new NoGradGuard();
    scope = new TensorScope();
  }

  @AfterEach
  void end() {
    scope.close();
    noGrad.close();
    made.forEach(Parameter::close);
  }

  /** {@code x → tanh(x Wᵀ) + c x} with W and c trained. */
  private Stage toy(String name, long seed) {
    Parameter weight = parameter(name + ".weight", seed, WIDTH, WIDTH);
    Parameter factor = parameter(name + ".factor", seed + 1, 1);
    return new Stage(
        input -> {
          events.add("run " + name + (GradMode.is_enabled() ? " recorded" : ""));
          if (name.equals(broken)) {
            throw new IllegalArgumentException("broken");
          }
          return input.matmul(weight.leaf().t()).tanh().add(input.mul(factor.leaf()));
        },
        List.of(weight, factor));
  }

  private Parameter parameter(String name, long seed, long... shape) {
    int elements = (int) (shape.length == 1 ? shape[0] : shape[0] * shape[1]);
    try (TensorScope inner = new TensorScope()) {
      Parameter parameter =
          Parameter.of(
              name, Tensors.ofFloats(Numbers.random(elements, seed), shape), ScalarType.Float);
      made.add(parameter);
      return parameter;
    }
  }

  private List<Stage> toys(int count) {
    return IntStream.range(0, count).mapToObj(i -> toy("s" + i, 10 * i)).toList();
  }

  private static Tensor rows(long seed) {
    return Tensors.ofFloats(Numbers.random(ROWS * WIDTH, seed), ROWS, WIDTH);
  }

  private GradientSink logging() {
    return (parameter, gradient) -> events.add("gradient " + parameter);
  }

  @Test
  void recordedStagesRunOnceAndTheirGradientsComeFromTheLastToTheFirst() {
    try (StagedBackward pass = new StagedBackward(toys(3), false)) {
      pass.forward(rows(1));
      events.add("backward");
      pass.backward(rows(2), logging());
    }
    assertThat(events)
        .containsExactly(
            "run s0 recorded",
            "run s1 recorded",
            "run s2 recorded",
            "backward",
            "gradient s2.weight",
            "gradient s2.factor",
            "gradient s1.weight",
            "gradient s1.factor",
            "gradient s0.weight",
            "gradient s0.factor");
  }

  @Test
  void aRecomputedStageRunsAgainWhenItsTurnComesButTheLastTwoAreRecordedAtOnce() {
    try (StagedBackward pass = new StagedBackward(toys(4), true)) {
      pass.forward(rows(1));
      events.add("backward");
      pass.backward(rows(2), logging());
    }
    assertThat(events)
        .containsExactly(
            "run s0",
            "run s1",
            "run s2 recorded",
            "run s3 recorded",
            "backward",
            "gradient s3.weight",
            "gradient s3.factor",
            "gradient s2.weight",
            "gradient s2.factor",
            "run s1 recorded",
            "gradient s1.weight",
            "gradient s1.factor",
            "run s0 recorded",
            "gradient s0.weight",
            "gradient s0.factor");
  }

  @Test
  void withoutStagesTheGradientIsHandedThrough() {
    try (StagedBackward pass = new StagedBackward(List.of(), false)) {
      assertThat(Tensors.toFloats(pass.forward(rows(1)))).isEqualTo(Tensors.toFloats(rows(1)));
      assertThat(Tensors.toFloats(pass.backward(rows(2), logging())))
          .isEqualTo(Tensors.toFloats(rows(2)));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void neitherInputNorOutputRequiresAGradient(boolean recompute) {
    try (StagedBackward pass = new StagedBackward(toys(2), recompute)) {
      Tensor input = rows(1);
      Tensor output = pass.forward(input);
      assertThat(output.requires_grad()).isFalse();
      Tensor gradient = pass.backward(rows(2), logging());
      assertThat(gradient.requires_grad()).isFalse();
      assertThat(input.requires_grad()).isFalse();
      assertThat(Tensors.toFloats(input)).isEqualTo(Tensors.toFloats(rows(1)));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aBackwardPassFollowsAForwardPassOnce(boolean recompute) {
    try (StagedBackward pass = new StagedBackward(toys(2), recompute)) {
      assertRefused(pass);
      pass.forward(rows(1));
      pass.backward(rows(2), logging());
      assertRefused(pass);
    }
  }

  private void assertRefused(StagedBackward pass) {
    assertThatThrownBy(() -> pass.backward(rows(2), logging()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("follows a forward pass");
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aPassThatIsGivenUpLeaksNothing(boolean recompute) throws Throwable {
    List<Stage> stages = toys(3);
    Leaks.assertNone(() -> runAndClose(stages, recompute, false, logging()));
    Leaks.assertNone(() -> runAndClose(stages, recompute, true, logging()));
    Leaks.assertNone(
        () ->
            assertThatThrownBy(
                    () ->
                        runAndClose(
                            stages,
                            recompute,
                            true,
                            (parameter, gradient) -> {
                              if (parameter.name().equals("s1.factor")) {
                                throw new IllegalArgumentException("the sink is full");
                              }
                            }))
                .hasMessage("the sink is full"));
    Leaks.assertNone(
        () -> {
          broken = "s1";
          assertThatThrownBy(() -> runAndClose(stages, recompute, true, logging()))
              .hasMessage("broken");
          broken = "";
        });
    assertThat(GradMode.is_enabled()).as("the gradient mode is off again").isFalse();
  }

  @Test
  void aStageThatFailsWhenItIsRunAgainLeaksNothing() throws Throwable {
    List<Stage> stages = toys(4);
    Leaks.assertNone(
        () -> {
          assertThatThrownBy(
                  () -> runAndClose(stages, true, true, (parameter, gradient) -> broken = "s1"))
              .hasMessage("broken");
          broken = "";
        });
    assertThat(GradMode.is_enabled()).as("the gradient mode is off again").isFalse();
  }

  private static void runAndClose(
      List<Stage> stages, boolean recompute, boolean backward, GradientSink sink) {
    try (TensorScope inner = new TensorScope();
        StagedBackward pass = new StagedBackward(stages, recompute)) {
      pass.forward(rows(1));
      if (backward) {
        pass.backward(rows(2), sink);
      }
    }
  }
}
