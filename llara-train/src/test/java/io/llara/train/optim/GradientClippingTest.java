package io.llara.train.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.assertj.core.data.Percentage;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GradientClippingTest {
  private static final int[] SIZES = {1, 1023, 1024, 1025, 200_000};

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  @AfterEach
  void oneThread() {
    torch.set_num_threads(1);
  }

  @Test
  void theNormInDoublePrecisionWithAnyNumberOfThreads() {
    Random random = new Random(2);
    double sum = 0;
    try (TensorScope scope = new TensorScope()) {
      List<Tensor> gradients = new ArrayList<>();
      for (int size : SIZES) {
        float[] values = new float[size];
        for (int i = 0; i < size; i++) {
          values[i] = (float) random.nextGaussian();
          sum += (double) values[i] * values[i];
        }
        gradients.add(Tensors.ofFloats(values, size));
      }
      double norm = GradientClipping.globalNorm(gradients);
      assertThat(norm).isCloseTo(Math.sqrt(sum), Percentage.withPercentage(1e-5));
      torch.set_num_threads(3);
      assertThat(GradientClipping.globalNorm(gradients)).isEqualTo(norm);
    }
  }

  @Test
  void ofTransposedEmptyAndNoGradients() {
    try (TensorScope scope = new TensorScope()) {
      Tensor transposed = Tensors.ofFloats(new float[] {3, 0, 0, 4}, 2, 2).t();
      Tensor empty = Tensors.ofFloats(new float[0], 0);
      assertThat(GradientClipping.globalNorm(List.of(transposed, empty))).isEqualTo(5);
      assertThat(GradientClipping.globalNorm(List.of())).isZero();
      assertThat(GradientClipping.clip(List.of(transposed), 2.5)).isEqualTo(5);
      assertThat(Tensors.toFloats(transposed))
          .containsExactly(new float[] {1.5f, 0, 0, 2}, within(1e-6f));
    }
  }

  @Test
  void scalesByTheBoundOverTheNorm() {
    try (TensorScope scope = new TensorScope()) {
      Tensor first = Tensors.ofFloats(new float[] {3}, 1);
      Tensor second = Tensors.ofFloats(new float[] {0, -4}, 2);
      assertThat(GradientClipping.clip(List.of(first, second), 1)).isEqualTo(5);
      assertThat(Tensors.toFloats(first)).containsExactly((float) (3 / (5 + 1e-6)));
      assertThat(Tensors.toFloats(second)[1]).isEqualTo((float) (-4 / (5 + 1e-6)));
    }
  }

  @Test
  void leavesAShortGradientToTheBit() {
    try (TensorScope scope = new TensorScope()) {
      Tensor gradient = Tensors.ofFloats(new float[] {0.1f, -0.7f}, 2);
      GradientClipping.clip(List.of(gradient), 1);
      assertThat(Tensors.toFloats(gradient)).containsExactly(0.1f, -0.7f);
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY})
  void aNormThatIsNotFiniteIsReturnedAndScalesNothing(float bad) {
    try (TensorScope scope = new TensorScope()) {
      Tensor gradient = Tensors.ofFloats(new float[] {2, bad}, 2);
      assertThat(GradientClipping.clip(List.of(gradient), 1)).isNotFinite();
      assertThat(Tensors.toFloats(gradient)).containsExactly(2, bad);
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, -1, Double.NaN})
  void theBoundIsAboveZero(double bound) {
    assertThatIllegalArgumentException().isThrownBy(() -> GradientClipping.clip(List.of(), bound));
  }

  @Test
  void nothingStaysAlive() throws Throwable {
    Leaks.assertNone(
        () -> {
          try (TensorScope scope = new TensorScope()) {
            GradientClipping.clip(List.of(Tensors.ofFloats(new float[2000], 2000)), 1);
            GradientClipping.clip(List.of(Tensors.ofFloats(new float[] {9}, 1)), 1);
          }
        });
  }
}
