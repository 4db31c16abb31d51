package io.llara.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class QuantizedMatrixTest {

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  private static float[] values(int count) {
    Random random = new Random(1);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  /** More than a chunk; rows of whole groups, and rows that are one group each. */
  @ParameterizedTest
  @ValueSource(ints = {96, 50})
  void eachValueIsWithinHalfAStep(int width) {
    int rows = 6000;
    float[] values = values(rows * width);
    values[7 * width] = 0;
    try (TensorScope scope = new TensorScope();
        QuantizedMatrix matrix = QuantizedMatrix.quantize(Tensors.ofFloats(values, rows, width))) {
      float[] scales = Tensors.toFloats(matrix.scales());
      float[] floats = Tensors.toFloats(TensorScope.adopt(matrix.floats(ScalarType.Float)));
      int group = (int) matrix.group();
      assertThat(group).isEqualTo(width == 96 ? 32 : 50);
      for (int i = 0; i < values.length; i++) {
        assertThat((double) floats[i]).isCloseTo(values[i], within(0.5001 * scales[i / group]));
      }
      float[] some = Tensors.toFloats(matrix.rows(Tensors.ofInts(new int[] {5999, 0, 17})));
      for (int i = 0; i < width; i++) {
        assertThat(some[i]).isEqualTo(floats[5999 * width + i]);
        assertThat(some[2 * width + i]).isEqualTo(floats[17 * width + i]);
      }
    }
  }

  @Test
  void zerosStayZeroAndNanStaysNanInItsGroup() {
    float[] values = new float[3 * 64];
    values[64 + 40] = Float.NaN;
    values[128] = Float.POSITIVE_INFINITY;
    try (TensorScope scope = new TensorScope();
        QuantizedMatrix matrix = QuantizedMatrix.quantize(Tensors.ofFloats(values, 3, 64))) {
      float[] floats = Tensors.toFloats(TensorScope.adopt(matrix.floats(ScalarType.Float)));
      for (int i = 0; i < 64; i++) {
        assertThat(floats[i]).isZero();
      }
      assertThat(floats[64]).isZero();
      assertThat(floats[64 + 40]).isNaN();
      assertThat(Float.isFinite(floats[128])).isFalse();
    }
  }

  @Test
  void closingFreesIt() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope()) {
            Tensor matrix = Tensors.ofFloats(values(640), 10, 64);
            QuantizedMatrix.quantize(matrix).close();
          }
        });
  }
}
