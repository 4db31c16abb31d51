package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Products against float64; the build runs this once for each level of instructions. */
class NativeProjectionTest {
  private final Random random = new Random(18);
  private TensorScope scope;

  @BeforeEach
  void open() {
    Libtorch.load();
    assumeTrue(
        NativeProjection.available(ScalarType.Float), "no kernels are compiled for this machine");
    scope = new TensorScope();
  }

  @AfterEach
  void close() {
    torch.set_num_threads(1);
    if (scope != null) {
      scope.close();
    }
  }

  /**
   * Integers with scales that are powers of two, times rows whose groups all have 127 as their
   * largest: nothing is rounded, so that every product must be exact.
   */
  @ParameterizedTest
  @CsvSource({
    "8, 1, 1, 1", "8, 1, 32, 8", "8, 3, 33, 7", "8, 31, 96, 17", "8, 33, 64, 40", "8, 70, 130, 61",
    "8, 5, 200, 3", "8, 64, 31, 33", "8, 32, 576, 192", "4, 1, 2, 1", "4, 2, 32, 9", "4, 3, 34, 7",
    "4, 31, 96, 17", "4, 33, 64, 40", "4, 70, 130, 61", "4, 65, 172, 35", "4, 32, 576, 192"
  })
  void productsOfIntegersAreExact(int bits, int rows, int in, int out) {
    // Of these, four of one sign never exceed 128: every instruction multiplies them as they are.
    int most = bits == 4 ? 8 : 31;
    int[] q = IntStream.range(0, out * in).map(i -> random.nextInt(2 * most) - most).toArray();
    int scaled = in % 32 == 0 ? 32 : in;
    float[] scales = new float[out * (in / scaled)];
    for (int i = 0; i < scales.length; i++) {
      scales[i] = (float) Math.scalb(1.0, random.nextInt(4) - 8);
    }
    float[] x = new float[rows * in];
    for (int i = 0; i < x.length; i++) {
      x[i] = i % in % 32 == 0 ? 127 : random.nextInt(255) - 127;
    }
    float[] bias = floats(out, 1);
    float[] residual = floats(rows * out, 1);

    try (Projection projection = of(bits, q, scales, out, bias)) {
      Tensor rowsOfX = Tensors.ofFloats(x, rows, in);
      float[] plain = Tensors.toFloats(projection.apply(rowsOfX));
      float[] added =
          Tensors.toFloats(projection.applyAndAdd(rowsOfX, Tensors.ofFloats(residual, rows, out)));
      for (int row = 0; row < rows; row++) {
        for (int o = 0; o < out; o++) {
          double sum = bias[o];
          double size = Math.abs(bias[o]);
          for (int i = 0; i < in; i++) {
            double product = x[row * in + i] * q[o * in + i] * scales[(o * in + i) / scaled];
            sum += product;
            size += Math.abs(product);
          }
          int at = row * out + o;
          // Groups are added up in float32.
          assertThat((double) plain[at]).isCloseTo(sum, within(2e-7 * size));
          assertThat((double) added[at]).isCloseTo(sum + residual[at], within(3e-7 * size + 1e-6));
        }
      }
    }
  }

  /** The same bits as one multiplication and one rounding give. */
  @ParameterizedTest
  @CsvSource({"8, 32, 32", "8, 96, 32", "8, 96, 96", "4, 32, 32", "4, 96, 32", "4, 576, 192"})
  void integersInFloatingTypes(int bits, int in, int scaled) {
    int out = 7;
    int[] q =
        IntStream.range(0, out * in)
            .map(i -> random.nextInt(1 << bits) - (1 << (bits - 1)))
            .toArray();
    float[] scales = floats(out * (in / scaled), 0.1);
    float[] expected = new float[q.length];
    for (int i = 0; i < q.length; i++) {
      expected[i] = q[i] * scales[i / scaled];
    }
    Tensor integers = stored(bits, q, out);
    Tensor steps = Tensors.ofFloats(scales, out, in / scaled);
    for (ScalarType type : new ScalarType[] {ScalarType.Float, ScalarType.BFloat16}) {
      Tensor found = NativeProjection.dequantize(integers, steps, type).orElseThrow();
      assertThat(found.scalar_type().intern()).isEqualTo(type);
      assertThat(Tensors.toFloats(found))
          .isEqualTo(Tensors.toFloats(Tensors.ofFloats(expected, out, in).to(type)));
    }
    assertThat(NativeProjection.dequantize(integers, steps, ScalarType.Half)).isEmpty();
  }

  /** Rows of bfloat16 by weights of each form: what is rounded is each factor, and the result. */
  @ParameterizedTest
  @CsvSource({
    "16, 1, 1, 1", "16, 3, 33, 7", "16, 16, 32, 32", "16, 17, 64, 33", "16, 70, 130, 61",
    "16, 65, 576, 192", "16, 1500, 544, 100", "8, 1, 1, 1", "8, 5, 200, 3", "8, 33, 64, 40",
    "8, 130, 96, 301", "8, 1500, 544, 100", "4, 1, 2, 1", "4, 31, 96, 17", "4, 70, 130, 61",
    "4, 64, 576, 192", "4, 1500, 544, 100"
  })
  void productsByTiles(int bits, int rows, int in, int out) {
    assumeTrue(NativeProjection.available(ScalarType.BFloat16), "no matrix unit");
    int scaled = in % 32 == 0 ? 32 : in;
    int most = 1 << (Math.min(bits, 8) - 1);
    int[] q = IntStream.range(0, out * in).map(i -> random.nextInt(2 * most) - most).toArray();
    float[] scales = floats(out * (in / scaled), 0.1);
    float[] w = new float[out * in];
    for (int i = 0; i < w.length; i++) {
      w[i] = q[i] * scales[i / scaled];
    }
    Tensor x = Tensors.ofFloats(floats(rows * in, 1), rows, in).to(ScalarType.BFloat16);
    Tensor weight = Tensors.ofFloats(w, out, in).to(ScalarType.BFloat16);
    Tensor bias = Tensors.ofFloats(floats(out, 1), out).to(ScalarType.BFloat16);
    Tensor residual = Tensors.ofFloats(floats(rows * out, 1), rows, out).to(ScalarType.BFloat16);
    float[] xs = Tensors.toFloats(x);
    float[] ws = Tensors.toFloats(weight);
    float[] biases = Tensors.toFloats(bias);
    float[] residuals = Tensors.toFloats(residual);

    for (int threads = 1; threads <= 3; threads += 2) {
      torch.set_num_threads(threads);
      try (Projection projection =
          bits == 16
              ? NativeProjection.pack(weight, scope.own(bias.clone()), ScalarType.BFloat16)
              : NativeProjection.of(
                  stored(bits, q, out),
                  Tensors.ofFloats(scales, out, in / scaled),
                  scope.own(bias.clone()),
                  ScalarType.BFloat16)) {
        Tensor plain = projection.apply(x);
        assertThat(plain.scalar_type().intern()).isEqualTo(ScalarType.BFloat16);
        float[] without = Tensors.toFloats(plain);
        float[] added = Tensors.toFloats(projection.applyAndAdd(x, residual));
        for (int row = 0; row < rows; row++) {
          for (int o = 0; o < out; o++) {
            double sum = biases[o];
            double size = Math.abs(sum);
            for (int i = 0; i < in; i++) {
              double product = (double) xs[row * in + i] * ws[o * in + i];
              sum += product;
              size += Math.abs(product);
            }
            int at = row * out + o;
            double other = sum + residuals[at];
            // Half a unit in the last of eight bits, and sums in float32.
            assertThat((double) without[at])
                .isCloseTo(sum, within(Math.abs(sum) / 256 + 1e-6 * size));
            assertThat((double) added[at])
                .isCloseTo(other, within(Math.abs(other) / 256 + 1e-6 * (size + 1)));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 64, 64", "17, 64, 172", "40, 172, 64", "33, 96, 33", "128, 576, 40"})
  void roundedWeightsAreNearTheProduct(int rows, int in, int out) {
    float[] x = floats(rows * in, 1);
    float[] w = floats(out * in, 0.05);
    for (ScalarType type : new ScalarType[] {ScalarType.Float, ScalarType.BFloat16}) {
      Tensor weight = Tensors.ofFloats(w, out, in).to(type);
      double[] expected = product(x, Tensors.toFloats(weight), rows, in, out);
      try (Projection projection = NativeProjection.pack(weight, null, ScalarType.Float)) {
        float[] actual = Tensors.toFloats(projection.apply(Tensors.ofFloats(x, rows, in)));
        // Both factors lose 0.5 to 1 % of their size.
        assertThat(distance(actual, expected)).isLessThan(0.016);
      }
    }
  }

  /** Sums of large integers of one sign: where they are narrow, they must not overflow. */
  @ParameterizedTest
  @ValueSource(ints = {1, -1})
  void sumsOfTheLargestDoNotOverflow(int sign) {
    float[] x = new float[5 * 96];
    Arrays.fill(x, 3);
    int[] q = new int[20 * 96];
    Arrays.fill(q, sign * 127);
    float[] scales = new float[20 * 3];
    Arrays.fill(scales, 0.01f);
    float[] w = new float[q.length];
    Arrays.fill(w, sign * 1.27f);
    double expected = 96 * 3 * 1.27 * sign;

    try (Projection stored = of(8, q, scales, 20, null);
        Projection rounded =
            NativeProjection.pack(Tensors.ofFloats(w, 20, 96), null, ScalarType.Float)) {
      for (Projection projection : new Projection[] {stored, rounded}) {
        for (float y : Tensors.toFloats(projection.apply(Tensors.ofFloats(x, 5, 96)))) {
          assertThat((double) y).isCloseTo(expected, within(4.0));
        }
      }
    }
  }

  /** Integers too large for narrow sums are rounded again, by groups: no more is lost than that. */
  @Test
  void anyIntegersOfEightBitsAreTaken() {
    int rows = 20;
    int in = 128;
    int out = 30;
    int[] q = IntStream.range(0, out * in).map(i -> random.nextInt(256) - 128).toArray();
    float[] scales = new float[out];
    Arrays.fill(scales, 0.004f);
    float[] w = new float[q.length];
    for (int i = 0; i < w.length; i++) {
      w[i] = q[i] * scales[0];
    }
    float[] x = floats(rows * in, 1);
    try (Projection projection = of(8, q, scales, out, null)) {
      float[] actual = Tensors.toFloats(projection.apply(Tensors.ofFloats(x, rows, in)));
      assertThat(distance(actual, product(x, w, rows, in, out))).isLessThan(0.016);
    }
  }

  @Test
  void zerosStayZero() {
    try (Projection projection =
        NativeProjection.pack(torch.zeros(new long[] {9, 70}), null, ScalarType.Float)) {
      assertThat(Tensors.toFloats(projection.apply(Tensors.ofFloats(floats(140, 1), 2, 70))))
          .containsOnly(0);
    }
    try (Projection projection =
        NativeProjection.pack(Tensors.ofFloats(floats(630, 1), 9, 70), null, ScalarType.Float)) {
      assertThat(Tensors.toFloats(projection.apply(torch.zeros(new long[] {3, 70}))))
          .containsOnly(0);
    }
  }

  /** So that the embedding is refused; other rows and columns are not touched. */
  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void whatIsNotFiniteComesThrough(float bad) {
    float[] x = floats(3 * 70, 1);
    float[] w = floats(9 * 70, 1);
    float[] broken = x.clone();
    broken[70 + 65] = bad;
    float[] brokenWeight = w.clone();
    brokenWeight[4 * 70 + 2] = bad;

    try (Projection fine =
            NativeProjection.pack(Tensors.ofFloats(w, 9, 70), null, ScalarType.Float);
        Projection damaged =
            NativeProjection.pack(Tensors.ofFloats(brokenWeight, 9, 70), null, ScalarType.Float)) {
      float[] rows = Tensors.toFloats(fine.apply(Tensors.ofFloats(broken, 3, 70)));
      float[] columns = Tensors.toFloats(damaged.apply(Tensors.ofFloats(x, 3, 70)));
      for (int row = 0; row < 3; row++) {
        for (int o = 0; o < 9; o++) {
          assertThat(Float.isFinite(rows[row * 9 + o])).isEqualTo(row != 1);
          assertThat(Float.isNaN(rows[row * 9 + o])).isEqualTo(row == 1);
          assertThat(Float.isFinite(columns[row * 9 + o])).isEqualTo(o != 4);
        }
      }
    }
  }

  /** The last bits must not depend on what shares a batch, nor on how many threads help. */
  @ParameterizedTest
  @EnumSource(names = {"Float", "BFloat16"})
  void aRowIsTheSameInAnyBatchAndOnAnyNumberOfThreads(ScalarType type) {
    assumeTrue(NativeProjection.available(type), "no matrix unit");
    Tensor x = Tensors.ofFloats(floats(300 * 256, 1), 300, 256).to(type);
    Tensor w = Tensors.ofFloats(floats(200 * 256, 0.1), 200, 256);
    try (Projection projection = NativeProjection.pack(w, null, type)) {
      float[] all = Tensors.toFloats(projection.apply(x));
      assertThat(Tensors.toFloats(projection.apply(x.narrow(0, 37, 50))))
          .isEqualTo(Arrays.copyOfRange(all, 37 * 200, 87 * 200));
      assertThat(Tensors.toFloats(projection.apply(x.narrow(0, 37, 1))))
          .isEqualTo(Arrays.copyOfRange(all, 37 * 200, 38 * 200));
      for (int threads : new int[] {2, 3, 8}) {
        torch.set_num_threads(threads);
        assertThat(Tensors.toFloats(projection.apply(x))).isEqualTo(all);
      }
    }
  }

  /**
   * Several of the same rows give what each gives alone, whether they can share a packing or not.
   */
  @Test
  void severalOfTheSameRows() {
    Tensor x = Tensors.ofFloats(floats(20 * 64, 1), 20, 64);
    float[] scales = floats(9 * 2, 0.1);
    Tensor w = Tensors.ofFloats(floats(33 * 64, 0.1), 33, 64);
    try (Projection eight = NativeProjection.pack(w, null, ScalarType.Float);
        Projection four = of(4, new int[9 * 64], scales, 9, null)) {
      Projection plain = new PlainProjection(w, null);
      assertEachAlone(x, eight, four, eight);
      assertEachAlone(x, eight, plain);
    }
    if (NativeProjection.available(ScalarType.BFloat16)) {
      Tensor half = x.to(ScalarType.BFloat16);
      Tensor integers = stored(8, new Random(3).ints(9 * 64, -90, 90).toArray(), 9);
      try (Projection sixteen = NativeProjection.pack(w, null, ScalarType.BFloat16);
          Projection eight =
              NativeProjection.of(
                  integers, Tensors.ofFloats(scales, 9, 2), null, ScalarType.BFloat16)) {
        assertEachAlone(half, sixteen, eight);
      }
    }
  }

  private static void assertEachAlone(Tensor x, Projection... projections) {
    List<Tensor> together = Projection.all(x, projections);
    for (int i = 0; i < projections.length; i++) {
      assertThat(Tensors.toFloats(together.get(i)))
          .isEqualTo(Tensors.toFloats(projections[i].apply(x)));
    }
  }

  /**
   * A feed-forward block whose gated products are packed at once, against one that stores them: the
   * same bits where products are float32.
   */
  @ParameterizedTest
  @CsvSource({
    "BFloat16, 16, 1, 33, 7",
    "BFloat16, 16, 70, 64, 301",
    "BFloat16, 8, 33, 96, 40",
    "BFloat16, 4, 70, 96, 301",
    "BFloat16, 4, 1500, 544, 64",
    "Float, 8, 1, 96, 7",
    "Float, 8, 70, 64, 301",
    "Float, 8, 40, 64, 16",
    "Float, 4, 33, 96, 40"
  })
  void feedForward(ScalarType type, int bits, int rows, int in, int out) {
    assumeTrue(NativeProjection.available(type), "no kernels for rows of this type");
    FusedKernels kernels = new FusedKernels();
    Tensor x = Tensors.ofFloats(floats(rows * in, 1), rows, in).to(type);
    Tensor residual = Tensors.ofFloats(floats(rows * in, 1), rows, in).to(type);
    for (int threads = 1; threads <= 3; threads += 2) {
      torch.set_num_threads(threads);
      try (Projection gate = quantised(type, bits, in, out);
          Projection up = quantised(type, bits, in, out);
          Projection down =
              NativeProjection.pack(
                  Tensors.ofFloats(floats(in * out, 0.3), in, out),
                  scope.own(Tensors.ofFloats(floats(in, 1), in).to(type)),
                  type)) {
        Tensor found = kernels.feedForward(x, gate, up, down, residual);
        assertThat(found.scalar_type().intern()).isEqualTo(type);
        float[] expected =
            Tensors.toFloats(down.applyAndAdd(kernels.swiGlu(x, gate, up), residual));
        if (type == ScalarType.Float) {
          assertThat(Tensors.toFloats(found)).isEqualTo(expected);
        } else {
          double[] exact = IntStream.range(0, rows * in).mapToDouble(i -> expected[i]).toArray();
          assertThat(distance(Tensors.toFloats(found), exact)).isLessThan(0.02);
        }
        // Kinds that do not go together take the long way.
        try (Projection other = quantised(type, bits == 4 ? 8 : 4, 32 * (in / 32), out)) {
          assertThat(NativeProjection.feedForward(x, gate, other, down, residual)).isEmpty();
        }
        assertThat(NativeProjection.feedForward(x, gate, up, new PlainProjection(x, null), x))
            .isEmpty();
      }
    }
  }

  private Projection quantised(ScalarType type, int bits, int in, int out) {
    if (bits == 16) {
      return NativeProjection.pack(Tensors.ofFloats(floats(out * in, 0.3), out, in), null, type);
    }
    int most = 1 << (bits - 1);
    int[] q = random.ints((long) out * in, -most, most).toArray();
    return NativeProjection.of(
        stored(bits, q, out),
        Tensors.ofFloats(floats(out * (in / 32), 0.3 / most), out, in / 32),
        null,
        type);
  }

  @Test
  void wrongShapesAndTypesAreRefused() {
    Tensor w = Tensors.ofFloats(floats(64 * 40, 1), 40, 64);
    Tensor integers = torch.zeros_like(w).to(ScalarType.Char);
    try (Projection projection = NativeProjection.pack(w, null, ScalarType.Float)) {
      assertThatThrownBy(() -> projection.apply(Tensors.ofFloats(floats(60, 1), 1, 60)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("expected float32 rows of 64, not Float of 60");
      Tensor half = Tensors.ofFloats(floats(64, 1), 1, 64).to(ScalarType.BFloat16);
      assertThatThrownBy(() -> projection.apply(half))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("expected float32 rows of 64, not BFloat16 of 64");
      Tensor x = Tensors.ofFloats(floats(128, 1), 2, 64);
      assertThatThrownBy(() -> projection.applyAndAdd(x, Tensors.ofFloats(floats(40, 1), 1, 40)))
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(
            () ->
                NativeProjection.of(
                    integers, torch.ones(new long[] {40, 4}), null, ScalarType.Float))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("scales of [40, 4] do not fit integers of [40, 64]");
    assertThatThrownBy(
            () ->
                NativeProjection.of(
                    integers, torch.ones(new long[] {39, 2}), null, ScalarType.Float))
        .isInstanceOf(IllegalArgumentException.class);
    Tensor narrow = torch.ones(new long[] {40, 2}).to(ScalarType.BFloat16);
    assertThatThrownBy(() -> NativeProjection.of(integers, narrow, null, ScalarType.Float))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(
            () ->
                NativeProjection.of(
                    integers, torch.ones(new long[] {40, 3}), null, ScalarType.Float))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> NativeProjection.pack(w, null, ScalarType.Half))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("rows of Half are not multiplied here");
  }

  @Test
  void closingFreesThePackedCopy() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope inner = new TensorScope()) {
            Tensor bias = inner.own(Tensors.ofFloats(floats(20, 1), 20));
            try (Projection projection =
                NativeProjection.pack(
                    Tensors.ofFloats(floats(600, 1), 20, 30), bias, ScalarType.Float)) {
              projection.apply(Tensors.ofFloats(floats(120, 1), 4, 30));
            }
          }
        });
  }

  private Projection of(int bits, int[] q, float[] scales, int out, float @Nullable [] bias) {
    return NativeProjection.of(
        stored(bits, q, out),
        Tensors.ofFloats(scales, out, scales.length / out),
        bias == null ? null : scope.own(Tensors.ofFloats(bias, bias.length)),
        ScalarType.Float);
  }

  /** As they are stored: bytes, or two to a byte, each plus eight, the first in the lower half. */
  private static Tensor stored(int bits, int[] q, int out) {
    float[] stored = new float[bits == 4 ? q.length / 2 : q.length];
    for (int i = 0; i < stored.length; i++) {
      stored[i] = bits == 4 ? (q[2 * i] + 8) | (q[2 * i + 1] + 8) << 4 : q[i];
    }
    return Tensors.ofFloats(stored, out, stored.length / out)
        .to(bits == 4 ? ScalarType.Byte : ScalarType.Char);
  }

  private float[] floats(int count, double spread) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (random.nextGaussian() * spread);
    }
    return values;
  }

  private static double[] product(float[] x, float[] w, int rows, int in, int out) {
    double[] y = new double[rows * out];
    for (int row = 0; row < rows; row++) {
      for (int o = 0; o < out; o++) {
        for (int i = 0; i < in; i++) {
          y[row * out + o] += (double) x[row * in + i] * w[o * in + i];
        }
      }
    }
    return y;
  }

  private static double distance(float[] actual, double[] expected) {
    double difference = 0;
    double size = 0;
    for (int i = 0; i < expected.length; i++) {
      difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
      size += expected[i] * expected[i];
    }
    return Math.sqrt(difference / size);
  }
}
