package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.util.Random;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Packed and plain projections against products in float64. */
class ProjectionTest {

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  /** Rows, width of the input, width of the output. */
  private static Stream<Arguments> shapes() {
    return Stream.of(
        arguments(1, 1, 1),
        arguments(1, 64, 64),
        arguments(3, 7, 5),
        arguments(17, 64, 172),
        arguments(128, 172, 64),
        arguments(200, 96, 33),
        arguments(1024, 16, 8));
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void plainEqualsTheProduct(int rows, int in, int out) {
    checkFloat(rows, in, out, PlainProjection::new);
    checkBfloat16(rows, in, out, PlainProjection::new);
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void packedEqualsTheProduct(int rows, int in, int out) {
    assumeTrue(PackedProjection.available(ScalarType.Float), "this build of libtorch cannot pack");
    checkFloat(rows, in, out, ProjectionTest::packed);
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void packedBfloat16EqualsTheProduct(int rows, int in, int out) {
    assumeTrue(PackedProjection.available(ScalarType.BFloat16), "no packed bfloat16 here");
    checkBfloat16(rows, in, out, ProjectionTest::packed);
  }

  /** What is said to be available is, and what is not would fail. */
  @ParameterizedTest
  @EnumSource(
      value = ScalarType.class,
      names = {"Float", "BFloat16"})
  void isAvailableWhereItCanBeMade(ScalarType type) {
    try (TensorScope scope = new TensorScope()) {
      Tensor weight = random(new Random(3), 1, 20, 30).to(type);
      if (PackedProjection.available(type)) {
        PackedProjection.pack(weight, null, 16).close();
      } else {
        assertThatThrownBy(() -> PackedProjection.pack(weight, null, 16))
            .isInstanceOf(RuntimeException.class);
      }
    }
  }

  /** Owns the bias, and the weight or a copy of it. */
  private interface Maker {
    Projection make(Tensor weight, @Nullable Tensor bias);
  }

  private static Projection packed(Tensor weight, @Nullable Tensor bias) {
    try (weight) {
      return PackedProjection.pack(weight, bias, 128);
    }
  }

  private static void checkFloat(int rows, int in, int out, Maker maker) {
    check(rows, in, out, false, ScalarType.Float, 1e-4, maker);
    check(rows, in, out, true, ScalarType.Float, 1e-4, maker);
  }

  private static void checkBfloat16(int rows, int in, int out, Maker maker) {
    // Half a unit in the last of eight bits, of a value up to 16.
    check(rows, in, out, true, ScalarType.BFloat16, 0.07, maker);
  }

  private static void check(
      int rows, int in, int out, boolean withBias, ScalarType type, double tolerance, Maker maker) {
    Random random = new Random(rows * 31L + in);
    try (TensorScope scope = new TensorScope()) {
      Tensor x = random(random, 1, rows, in).to(type);
      Tensor weight = random(random, 1 / Math.sqrt(in), out, in).to(type);
      Tensor bias = random(random, 1, out).to(type);
      double[] product =
          product(x, weight, withBias ? Tensors.toFloats(bias) : new float[out], rows, in, out);
      try (Projection projection =
          maker.make(scope.own(weight), withBias ? scope.own(bias) : null)) {
        assertClose(projection.apply(x), product, tolerance);
      }
    }
  }

  @Test
  void closingFreesThePackedCopy() throws Throwable {
    assumeTrue(PackedProjection.available(ScalarType.Float), "this build of libtorch cannot pack");
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope()) {
            Tensor weight = random(new Random(1), 1, 20, 30);
            Tensor bias = scope.own(random(new Random(1), 1, 20));
            try (Projection packed = PackedProjection.pack(weight, bias, 16)) {
              packed.apply(random(new Random(2), 1, 4, 30));
            }
          }
        });
  }

  private static Tensor random(Random random, double spread, int... shape) {
    long[] sizes = new long[shape.length];
    int count = 1;
    for (int i = 0; i < shape.length; i++) {
      sizes[i] = shape[i];
      count *= shape[i];
    }
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (random.nextGaussian() * spread);
    }
    return Tensors.ofFloats(values, sizes);
  }

  private static double[] product(
      Tensor x, Tensor weight, float[] bias, int rows, int in, int out) {
    float[] a = Tensors.toFloats(x);
    float[] w = Tensors.toFloats(weight);
    double[] y = new double[rows * out];
    for (int row = 0; row < rows; row++) {
      for (int o = 0; o < out; o++) {
        double sum = bias[o];
        for (int i = 0; i < in; i++) {
          sum += (double) a[row * in + i] * w[o * in + i];
        }
        y[row * out + o] = sum;
      }
    }
    return y;
  }

  private static void assertClose(Tensor actual, double[] expected, double tolerance) {
    float[] values = Tensors.toFloats(actual);
    assertThat(values).hasSameSizeAs(expected);
    for (int i = 0; i < values.length; i++) {
      assertThat((double) values[i]).isCloseTo(expected[i], within(tolerance));
    }
  }
}
