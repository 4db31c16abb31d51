package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMask.Span;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What kernels for inference have to do: each against the equation written out in float64, on the
 * values that the type in question holds.
 */
abstract class KernelsContract {
  final Kernels kernels = kernels().get(0);
  private final RandomTensors random = new RandomTensors();
  private TensorScope scope;

  enum Type {
    /** Sums of a few hundred float32 products of values near 1. */
    FLOAT32(ScalarType.Float, 1e-5),
    /** Eight bits of mantissa: half a unit in the last place of a value near 4 is 0.8 per cent. */
    BFLOAT16(ScalarType.BFloat16, 0.04);

    final ScalarType torch;
    final double tolerance;

    Type(ScalarType torch, double tolerance) {
      this.torch = torch;
      this.tolerance = tolerance;
    }
  }

  @BeforeEach
  void open() {
    Libtorch.load();
    scope = new TensorScope();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  /** Returns the kernels to test; those after the first differ in attention only. */
  abstract List<Kernels> kernels();

  final Tensor random(Type type, double spread, long... shape) {
    return random.next(type.torch, spread, shape);
  }

  @ParameterizedTest
  @EnumSource
  void rmsNormDividesByTheRootMeanSquare(Type type) {
    for (int hidden : new int[] {1, 7, 64, 769}) {
      Tensor x = random(type, 2, 5, hidden);
      Tensor weight = random(type, 1, hidden);
      double eps = 1e-5;

      float[] actual = Tensors.toFloats(kernels.rmsNorm(x, weight, eps));

      float[] in = Tensors.toFloats(x);
      float[] scale = Tensors.toFloats(weight);
      for (int row = 0; row < 5; row++) {
        double squares = 0;
        for (int i = 0; i < hidden; i++) {
          squares += Math.pow(in[row * hidden + i], 2);
        }
        for (int i = 0; i < hidden; i++) {
          double expected = in[row * hidden + i] / Math.sqrt(squares / hidden + eps) * scale[i];
          assertThat((double) actual[row * hidden + i])
              .isCloseTo(expected, within(type.tolerance * Math.max(1, Math.abs(expected))));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void rmsNormOfZerosIsZero(Type type) {
    Tensor zeros = Tensors.ofFloats(new float[8], 1, 8).to(type.torch);

    for (float value : Tensors.toFloats(kernels.rmsNorm(zeros, random(type, 1, 8), 1e-6))) {
      assertThat(value).isZero();
    }
  }

  @ParameterizedTest
  @EnumSource
  void rmsNormOfHugeValuesDoesNotOverflow(Type type) {
    // The squares of what outlier channels of real models hold, in one row; float32 ends near
    // 3.4e38.
    Tensor x = random(type, 1e15, 2, 32);

    for (float value : Tensors.toFloats(kernels.rmsNorm(x, random(type, 1, 32), 1e-6))) {
      assertThat(value).isBetween(-100f, 100f);
    }
  }

  static Kernels.Rotation rotation(Type type, int rows, int dim) {
    int half = dim / 2;
    float[] cos = new float[rows * dim];
    float[] sin = new float[rows * dim];
    for (int i = 0; i < cos.length; i++) {
      double angle = angle(i / dim, i % half);
      cos[i] = (float) Math.cos(angle);
      sin[i] = (float) Math.sin(i % dim < half ? -angle : angle);
    }
    return new Kernels.Rotation(
        Tensors.ofFloats(cos, rows, 1, dim).to(type.torch),
        Tensors.ofFloats(sin, rows, 1, dim).to(type.torch));
  }

  private static double angle(int row, int pair) {
    return row * 3.7 / (pair + 1);
  }

  @ParameterizedTest
  @EnumSource
  void rotaryTurnsPairsOfHalves(Type type) {
    int rows = 6;
    int heads = 3;
    for (int dim : new int[] {2, 6, 64}) {
      int half = dim / 2;
      Tensor x = random(type, 1, rows, heads, dim);

      float[] actual = Tensors.toFloats(kernels.rotary(x, rotation(type, rows, dim)));

      float[] in = Tensors.toFloats(x);
      for (int i = 0; i < actual.length; i++) {
        int row = i / (heads * dim);
        int column = i % dim;
        double angle = angle(row, column % half);
        double c = Math.cos(angle);
        double s = Math.sin(angle);
        double expected =
            column < half ? in[i] * c - in[i + half] * s : in[i] * c + in[i - half] * s;
        assertThat((double) actual[i]).isCloseTo(expected, within(type.tolerance));
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void swiGluGatesWithSilu(Type type) {
    Tensor x = random(type, 1, 9, 12);
    Tensor gate = random(type, 0.3, 21, 12);
    Tensor up = random(type, 0.3, 21, 12);
    double[] expected = new double[9 * 21];
    for (int i = 0; i < expected.length; i++) {
      double g = dot(x, i / 21, gate, i % 21);
      expected[i] = g / (1 + Math.exp(-g)) * dot(x, i / 21, up, i % 21);
    }

    Projection plainGate = new PlainProjection(gate, null);
    Projection plainUp = new PlainProjection(up, null);
    assertClose(kernels.swiGlu(x, plainGate, plainUp), expected, type);
    if (PackedProjection.available(type.torch)) {
      try (Projection packedGate = PackedProjection.pack(gate, null, 9);
          Projection packedUp = PackedProjection.pack(up, null, 9)) {
        assertClose(kernels.swiGlu(x, packedGate, packedUp), expected, type);
        assertClose(kernels.swiGlu(x, packedGate, plainUp), expected, type);
      }
    }
  }

  private static double dot(Tensor x, int row, Tensor weight, int out) {
    float[] a = Tensors.toFloats(x.select(0, row));
    float[] b = Tensors.toFloats(weight.select(0, out));
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  static Stream<Arguments> masksAndHeads() {
    return AttentionBatches.withHeads(new int[][] {{1, 1}, {4, 4}, {4, 2}, {6, 2}, {3, 1}});
  }

  @ParameterizedTest(name = "{index}: {1} heads on {2}, {3}")
  @MethodSource("masksAndHeads")
  void attentionEqualsSoftmaxOverTheDenseMask(
      List<Prompt> batch, int heads, int kvHeads, Type type) {
    for (Layout layout : List.of(Layout.packed(), Layout.leftPadded(8), Layout.rightPadded(4))) {
      AttentionMask mask = AttentionMaskFactory.create(batch, layout);
      checkAttention(mask, heads, kvHeads, 16, type);
      checkAttention(mask, AttentionBatches.pooledRows(mask), heads, kvHeads, type);
    }
  }

  @ParameterizedTest
  @EnumSource
  void attentionTakesHeadsOfAnyWidth(Type type) {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(AttentionBatches.joint(9), AttentionBatches.plain(11)), Layout.packed());
    for (int dim : new int[] {2, 6, 34, 128}) {
      checkAttention(mask, 2, 1, dim, type);
    }
  }

  @ParameterizedTest
  @EnumSource
  void attentionWithHugeScoresStaysFinite(Type type) {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(
                AttentionBatches.plain(40), AttentionBatches.plain(200), AttentionBatches.joint(5)),
            Layout.packed());
    Tensor q = random(type, 1000, mask.rows(), 2, 8);
    Tensor k = random(type, 1000, mask.rows(), 2, 8);
    Tensor v = random(type, 1, mask.rows(), 2, 8);

    for (float value : Tensors.toFloats(kernels.attention(q, k, v, mask.spans()))) {
      assertThat(value).isBetween(-10f, 10f);
    }
  }

  final void checkAttention(AttentionMask mask, int heads, int kvHeads, int dim, Type type) {
    checkAttention(mask.spans(), mask.dense(), heads, kvHeads, dim, type);
  }

  /** As in the last layer of a model, for some of the rows. */
  private void checkAttention(AttentionMask mask, int[] rows, int heads, int kvHeads, Type type) {
    if (rows.length > 0) {
      boolean[][] visible = mask.dense();
      boolean[][] some =
          Arrays.stream(rows).mapToObj(row -> visible[row]).toArray(boolean[][]::new);
      checkAttention(mask.spans(rows), some, heads, kvHeads, 16, type);
    }
  }

  private void checkAttention(
      List<Span> spans, boolean[][] visible, int heads, int kvHeads, int dim, Type type) {
    try (TensorScope inner = new TensorScope()) {
      Tensor q = random(type, 1, visible.length, heads, dim);
      Tensor k = random(type, 1, visible[0].length, kvHeads, dim);
      Tensor v = random(type, 1, visible[0].length, kvHeads, dim);
      double[] expected =
          attention(
              Tensors.toFloats(q),
              Tensors.toFloats(k),
              Tensors.toFloats(v),
              visible,
              heads,
              kvHeads,
              dim);

      for (Kernels some : kernels()) {
        Tensor actual = some.attention(q, k, v, spans);

        assertThat(actual.size(1)).isEqualTo((long) heads * dim);
        assertThat(actual.scalar_type().intern()).isEqualTo(type.torch);
        assertClose(actual, expected, type);
      }
    }
  }

  private static double[] attention(
      float[] q, float[] k, float[] v, boolean[][] visible, int heads, int kvHeads, int dim) {
    double[] out = new double[q.length];
    for (int row = 0; row < visible.length; row++) {
      for (int head = 0; head < heads; head++) {
        int to = (row * heads + head) * dim;
        double sum = 0;
        for (int key = 0; key < visible[row].length; key++) {
          if (visible[row][key]) {
            int from = (key * kvHeads + head * kvHeads / heads) * dim;
            double score = 0;
            for (int i = 0; i < dim; i++) {
              score += q[to + i] * k[from + i];
            }
            double share = Math.exp(score / Math.sqrt(dim));
            sum += share;
            for (int i = 0; i < dim; i++) {
              out[to + i] += share * v[from + i];
            }
          }
        }
        for (int i = 0; i < dim && sum > 0; i++) {
          out[to + i] /= sum;
        }
      }
    }
    return out;
  }

  @Test
  void argumentsAreLeftAsTheyAre() {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(AttentionBatches.joint(9), AttentionBatches.plain(130)), Layout.packed());
    Tensor q = random(Type.FLOAT32, 1, mask.rows(), 2, 8);
    Tensor x = random(Type.FLOAT32, 1, 4, 8);
    Tensor weight = random(Type.FLOAT32, 1, 8);
    float[] before = Tensors.toFloats(q);
    float[] rows = Tensors.toFloats(x);

    kernels.attention(q, q, q, mask.spans());
    kernels.rmsNorm(x, weight, 1e-5);
    kernels.rotary(q, rotation(Type.FLOAT32, mask.rows(), 8));
    Projection projection = new PlainProjection(random(Type.FLOAT32, 1, 5, 8), null);
    kernels.swiGlu(x, projection, projection);

    assertThat(Tensors.toFloats(q)).isEqualTo(before);
    assertThat(Tensors.toFloats(x)).isEqualTo(rows);
  }

  static void assertClose(Tensor actual, double[] expected, Type type) {
    float[] values = Tensors.toFloats(actual);
    assertThat(values).hasSameSizeAs(expected);
    for (int i = 0; i < values.length; i++) {
      assertThat((double) values[i])
          .isCloseTo(expected[i], within(type.tolerance * Math.max(1, Math.abs(expected[i]))));
    }
  }
}
