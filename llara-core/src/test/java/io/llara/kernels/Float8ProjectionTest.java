package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.util.List;
import java.util.Random;
import org.bytedeco.pytorch.Argument;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class Float8ProjectionTest {
  private static final Kernels KERNELS = new LibtorchKernels();

  private final Random random = new Random(3);

  @BeforeEach
  void load() {
    Libtorch.load();
  }

  private Tensor random(long... shape) {
    float[] values = new float[(int) (shape[0] * (shape.length > 1 ? shape[1] : 1))];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return Tensors.ofFloats(values, shape).to(ScalarType.BFloat16);
  }

  private static double relativeError(Tensor actual, Tensor expected) {
    Tensor difference = actual.to(ScalarType.Float).sub(expected);
    return Math.sqrt(
        difference.square().mean().item_double() / expected.square().mean().item_double());
  }

  @Test
  void productsAreThoseOfRoundedFactors() throws Throwable {
    try (TensorScope scope = new TensorScope()) {
      Tensor weight = random(48, 64);
      Tensor bias = random(48);
      Tensor x = random(5, 64);
      Tensor exact = x.to(ScalarType.Float).matmul(weight.to(ScalarType.Float).t());
      Tensor biased = exact.add(bias.to(ScalarType.Float));
      Float8Rows left = Float8Rows.of(x);
      Float8Rows right = Float8Rows.of(weight);
      Tensor rounded =
          left.values()
              .to(ScalarType.Float)
              .mul(left.scales())
              .matmul(right.values().to(ScalarType.Float).mul(right.scales()).t())
              .add(bias.to(ScalarType.Float));

      try (Float8Projection projection =
          new Float8Projection(scope.own(weight), scope.own(bias), KERNELS)) {
        Tensor y = projection.apply(x);

        assertThat(y.scalar_type().intern()).isEqualTo(ScalarType.BFloat16);
        assertThat(relativeError(y, rounded)).isLessThan(0.005); // as bfloat16 rounds
        assertThat(relativeError(y, biased)).isBetween(0.01, 0.06);
        assertThat(Tensors.toFloats(projection.apply(x, 16, 16)))
            .isEqualTo(Tensors.toFloats(y.narrow(1, 16, 16)));
        Leaks.assertNone(
            () -> {
              try (TensorScope inner = new TensorScope()) {
                projection.apply(x);
              }
            });
      }
    }
  }

  @Test
  void aScaleOfARowIsItsOwn() {
    try (TensorScope scope = new TensorScope()) {
      Tensor x = random(2, 64);
      x.narrow(0, 0, 1).mul_(new org.bytedeco.pytorch.Scalar(1e-6));
      Float8Rows rows = Float8Rows.of(x);
      Tensor back = rows.values().to(ScalarType.Float).mul(rows.scales());

      for (int row = 0; row < 2; row++) {
        assertThat(relativeError(back.narrow(0, row, 1), x.narrow(0, row, 1).to(ScalarType.Float)))
            .isCloseTo(0.026, within(0.006));
      }
    }
  }

  @Test
  void joinedOnesShareOneMatrix() {
    try (TensorScope scope = new TensorScope()) {
      Tensor x = random(3, 32);
      Tensor first = random(16, 32);
      Tensor second = random(32, 32);
      List<Projection> joined =
          JoinedProjection.join(
              List.of(first, second),
              List.of(),
              (weight, bias) -> new Float8Projection(weight, bias, KERNELS));
      try (Float8Projection alone = new Float8Projection(scope.own(second), null, KERNELS)) {
        List<Tensor> parts = Projection.all(x, joined.get(0), joined.get(1));

        assertThat(Tensors.toFloats(parts.get(1))).isEqualTo(Tensors.toFloats(alone.apply(x)));
        assertThat(parts.get(0).size(1)).isEqualTo(16);
      } finally {
        joined.forEach(Projection::close);
      }
    }
  }

  @Test
  void widthsThatAreNoMultiplesOfSixteenDoNotSuit() {
    try (TensorScope scope = new TensorScope()) {
      assertThat(Float8Projection.suits(random(48, 64))).isTrue();
      assertThat(Float8Projection.suits(random(48, 40))).isFalse();
      assertThat(Float8Projection.suits(random(40, 48))).isFalse();
    }
  }

  /** GPUs are called with as many arguments, in this order. */
  @Test
  void theDispatcherHasTheOperator() {
    try (TensorScope scope = new TensorScope()) {
      Tensor x = random(1, 1);
      Argument declared =
          Dispatcher.singleton().findSchemaOrThrow(Float8Projection.NAME, "").schema().arguments();
      assertThat(declared.capacity()).isEqualTo(Float8Projection.arguments(x, x, x, x, x).length);
      assertThat(declared.getPointer(7).name().getString()).isEqualTo("use_fast_accum");
      assertThat(declared.getPointer(6).name().getString()).isEqualTo("out_dtype");
    }
  }
}
