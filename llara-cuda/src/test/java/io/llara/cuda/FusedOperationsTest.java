package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.kernels.Float8Rows;
import io.llara.kernels.Kernels.NormedSum;
import io.llara.kernels.Kernels.Rotation;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * {@code kernels.cu} on the processor against the equations in float64, at sizes around a warp, a
 * chunk and a block, of rows that lie apart or are not aligned.
 */
class FusedOperationsTest {
  private static final int[] WIDTHS = {1, 2, 7, 8, 31, 64, 255, 256, 257, 769, 2056};

  private final Random random = new Random(7);
  private TensorScope scope;
  private FusedOperations operations;

  enum Type {
    FLOAT32(ScalarType.Float, 2e-6),
    /** Half a unit of 8 bits' last place, relative to the value. */
    BFLOAT16(ScalarType.BFloat16, 0.004),
    FLOAT16(ScalarType.Half, 0.0005);

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
    operations = new FusedOperations(launcher());
  }

  /** Returns what runs the kernels, or skips the test. */
  Launcher launcher() {
    assumeTrue(ShimLauncher.create().isPresent(), "this build has no kernels.cu for the processor");
    return ShimLauncher.create().orElseThrow();
  }

  /** Returns a tensor where the kernels run. */
  Tensor placed(Tensor host) {
    return host;
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private Tensor random(Type type, double spread, long... shape) {
    int count = 1;
    for (long size : shape) {
      count *= (int) size;
    }
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (random.nextGaussian() * spread);
    }
    return placed(Tensors.ofFloats(values, shape).to(type.torch));
  }

  /** Columns of a wider tensor, from an odd one on if not aligned. */
  private Tensor apart(Type type, long rows, long width, boolean aligned) {
    long begin = aligned ? 64 : 3;
    long end = aligned ? (8 - width % 8) % 8 + 8 : 5;
    return random(type, 1, rows, begin + width + end).narrow(1, begin, width);
  }

  private static void assertClose(double actual, double expected, Type type) {
    assertThat(actual)
        .isCloseTo(expected, within(type.tolerance * Math.max(0.1, Math.abs(expected)) * 1.01));
  }

  @ParameterizedTest
  @EnumSource
  void normsOfSums(Type type) {
    for (int width : WIDTHS) {
      for (boolean aligned : new boolean[] {true, false}) {
        int rows = 3;
        Tensor residual = apart(type, rows, width, aligned);
        Tensor x = random(type, 1, rows, width);
        Tensor weight = random(type, 1, width);
        float[] a = Tensors.toFloats(residual);
        float[] b = Tensors.toFloats(x);
        float[] w = Tensors.toFloats(weight);

        NormedSum actual = operations.addRmsNorm(residual, x, weight, 1e-5);

        float[] sums = Tensors.toFloats(actual.sum());
        float[] normed = Tensors.toFloats(actual.normed());
        assertThat(Tensors.toFloats(residual)).isEqualTo(a);
        for (int row = 0; row < rows; row++) {
          double squares = 0;
          for (int i = row * width; i < (row + 1) * width; i++) {
            assertClose(sums[i], (double) a[i] + b[i], type);
            squares += (double) sums[i] * sums[i];
          }
          double scale = 1 / Math.sqrt(squares / width + 1e-5);
          for (int i = row * width; i < (row + 1) * width; i++) {
            assertClose(normed[i], sums[i] * scale * w[i - row * width], type);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void normsLeaveTheirRowsAsTheyAre(Type type) {
    for (int width : WIDTHS) {
      Tensor x = apart(type, 2, width, width % 2 == 0);
      Tensor weight = random(type, 1, width);
      float[] before = Tensors.toFloats(x);
      float[] w = Tensors.toFloats(weight);

      float[] normed = Tensors.toFloats(operations.rmsNorm(x, weight, 1e-6));

      assertThat(Tensors.toFloats(x)).isEqualTo(before);
      for (int i = 0; i < normed.length; i++) {
        double squares = 0;
        for (int j = i / width * width; j < (i / width + 1) * width; j++) {
          squares += (double) before[j] * before[j];
        }
        assertClose(normed[i], before[i] / Math.sqrt(squares / width + 1e-6) * w[i % width], type);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void rotatesInPlaceAndNothingBeside(Type type) {
    for (int dim : new int[] {2, 6, 16, 34, 64, 128}) {
      for (int heads : new int[] {1, 3}) {
        for (int begin : new int[] {0, 3, 16}) {
          int rows = 4;
          int half = dim / 2;
          Tensor all = random(type, 1, rows, begin + heads * dim + 16);
          Tensor x = all.narrow(1, begin, heads * dim).view(rows, heads, dim);
          Tensor cos = random(type, 1, rows, 1, half);
          Tensor sin = random(type, 1, rows, 1, half);
          Rotation rotation =
              new Rotation(
                  torch.cat(new TensorVector(cos, cos), 2),
                  torch.cat(new TensorVector(sin.neg(), sin), 2));
          float[] before = Tensors.toFloats(x);
          float[] c = Tensors.toFloats(cos);
          float[] s = Tensors.toFloats(sin);
          float[] after = Tensors.toFloats(all.narrow(1, begin + heads * dim, 16));

          float[] actual = Tensors.toFloats(operations.rotary(x, rotation));

          assertThat(Tensors.toFloats(x)).isEqualTo(actual);
          assertThat(Tensors.toFloats(all.narrow(1, begin + heads * dim, 16))).isEqualTo(after);
          for (int i = 0; i < actual.length; i++) {
            int angle = i / (heads * dim) * half + i % half;
            double expected =
                i % dim < half
                    ? (double) before[i] * c[angle] - (double) before[i + half] * s[angle]
                    : (double) before[i] * c[angle] + (double) before[i - half] * s[angle];
            assertClose(actual[i], expected, type);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void gatesWithSilu(Type type) {
    for (int width : WIDTHS) {
      Tensor both = random(type, 3, 3, 2L * width);
      Tensor gate = both.narrow(1, 0, width);
      Tensor up = both.narrow(1, width, width);
      float[] g = Tensors.toFloats(gate);
      float[] u = Tensors.toFloats(up);

      Tensor out = operations.gate(gate, up);

      assertThat(out.is_contiguous()).isTrue();
      float[] actual = Tensors.toFloats(out);
      for (int i = 0; i < actual.length; i++) {
        assertClose(actual[i], g[i] / (1 + Math.exp(-(double) g[i])) * u[i], type);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void rowsBecomeEightBitFloatsAsLibtorchRounds(Type type) {
    for (int width : WIDTHS) {
      for (boolean aligned : new boolean[] {true, false}) {
        Tensor x = apart(type, 3, width, aligned);
        float[] values = Tensors.toFloats(x);
        float[] inverse = new float[3];
        for (int row = 0; row < 3; row++) {
          float most = 0;
          for (int i = row * width; i < (row + 1) * width; i++) {
            most = Math.max(most, Math.abs(values[i]));
          }
          inverse[row] = 448 / most;
        }
        Tensor factors = placed(Tensors.ofFloats(inverse, 3, 1));
        Tensor expected = x.to(ScalarType.Float).mul(factors).to(ScalarType.Float8_e4m3fn);

        Float8Rows rows = operations.float8Rows(x);

        assertThat(Tensors.toFloats(x)).isEqualTo(values);
        assertThat(rows.values().scalar_type().intern()).isEqualTo(ScalarType.Float8_e4m3fn);
        assertThat(Tensors.toFloats(rows.values().to(ScalarType.Float)))
            .isEqualTo(Tensors.toFloats(expected.to(ScalarType.Float)));
        float[] scales = Tensors.toFloats(rows.scales());
        for (int row = 0; row < 3; row++) {
          assertThat(scales[row] * inverse[row]).isCloseTo(1, within(1e-6f));
        }
      }
    }
  }

  /** All numbers between neighbours of that type, and the neighbours, ties among them. */
  @Test
  void eightBitFloatsAreTheNearest() {
    float[] values = new float[1 + 2 * 16 * 127];
    values[0] = 448; // So that the scale is 1.
    for (int i = 1; i < values.length; i++) {
      // Steps of a 32nd of an eighth of each binade, down into what is below the normal ones.
      values[i] = Math.scalb(1 + i % 256 / 256f, -11 + i / 256) * (i % 2 == 0 ? 1 : -1);
    }
    values[1] = Float.NaN;
    Tensor x = placed(Tensors.ofFloats(values, 1, values.length));

    Float8Rows rows = operations.float8Rows(x);

    assertThat(Tensors.toFloats(rows.scales())).containsExactly(1);
    assertThat(Tensors.toFloats(rows.values().to(ScalarType.Float)))
        .isEqualTo(Tensors.toFloats(x.to(ScalarType.Float8_e4m3fn).to(ScalarType.Float)));
  }

  @Test
  void rowsOfZerosStayZeros() {
    Float8Rows rows = operations.float8Rows(placed(Tensors.ofFloats(new float[64], 2, 32)));

    assertThat(Tensors.toFloats(rows.values().to(ScalarType.Float))).containsOnly(0);
    assertThat(Tensors.toFloats(rows.scales())).doesNotContain(0).doesNotContain(Float.NaN);
  }

  @ParameterizedTest
  @CsvSource({"-1000,0", "-88,0", "0,0", "60,60", "3e38,3e38"})
  void theGateHasNoHoles(float gate, float expected) {
    float[] out =
        Tensors.toFloats(
            operations.gate(
                placed(Tensors.ofFloats(new float[] {gate}, 1, 1)),
                placed(Tensors.ofFloats(new float[] {1}, 1, 1))));

    assertThat(out[0]).isCloseTo(expected, within(1e-6f));
  }

  @Test
  void bfloat16IsRoundedAsLibtorchRounds() {
    float[] values = new float[4096];
    for (int i = 0; i < values.length; i++) {
      values[i] = Float.intBitsToFloat(random.nextInt());
    }
    values[0] = Float.POSITIVE_INFINITY;
    values[1] = Float.NaN;
    Tensor x = placed(Tensors.ofFloats(values, 1, values.length).to(ScalarType.BFloat16));
    Tensor zeros = torch.zeros_like(x);
    Tensor other = random(Type.BFLOAT16, 1e30, 1, values.length);
    Tensor weight = random(Type.BFLOAT16, 1, values.length);
    float[] expected = Tensors.toFloats(x.add(other));

    Tensor sum = operations.addRmsNorm(other, x.add(zeros), weight, 1e-5).sum();

    assertThat(Tensors.toFloats(sum)).isEqualTo(expected);
  }

  @Test
  void noRowsAreNoWork() {
    FusedOperations none =
        new FusedOperations(
            (kernel, blocks, threads, arguments) -> {
              throw new AssertionError("there is nothing to compute");
            });

    Tensor out = none.rmsNorm(torch.empty(0, 8), random(Type.FLOAT32, 1, 8), 1e-5);

    assertThat(out.size(0)).isZero();
  }

  @Test
  void operandsThatDoNotFitAreRefused() {
    Tensor x = random(Type.FLOAT32, 1, 2, 8);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> operations.rmsNorm(x, random(Type.FLOAT32, 1, 7), 1e-5))
        .withMessage("expected 8 elements of type Float, not 7 of type Float");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> operations.gate(x, random(Type.BFLOAT16, 1, 2, 8)))
        .withMessage("expected 16 elements of type Float, not 16 of type BFloat16");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> operations.gate(x.to(ScalarType.Double), x.to(ScalarType.Double)))
        .withMessage("expected float32, bfloat16 or float16, not Double");
  }
}
