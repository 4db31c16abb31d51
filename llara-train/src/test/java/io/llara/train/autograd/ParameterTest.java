package io.llara.train.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ParameterTest {
  private TensorScope scope;

  @BeforeEach
  void open() {
    scope = new TensorScope();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private static Parameter of(ScalarType type, float... values) {
    return Parameter.of("weight", Tensors.ofFloats(values, values.length), type);
  }

  @Test
  void isACopyOfItsFirstValue() {
    Tensor value = Tensors.ofFloats(new float[] {1, 2}, 2);
    try (Parameter parameter = Parameter.of("weight", value, ScalarType.Float);
        NoGradGuard noGrad = new NoGradGuard()) {
      value.zero_();
      assertThat(Tensors.toFloats(parameter.master())).containsExactly(1, 2);
      assertThat(parameter.elements()).isEqualTo(2);
      assertThat(parameter).hasToString("weight");
    }
  }

  @Test
  void inFloat32TheLeafIsTheMaster() {
    try (Parameter parameter = of(ScalarType.Float, 1, 2);
        NoGradGuard noGrad = new NoGradGuard()) {
      parameter.master().fill_(new org.bytedeco.pytorch.Scalar(5));
      assertThat(Tensors.toFloats(parameter.leaf())).containsExactly(5, 5);
      assertThat(parameter.leaf().requires_grad()).isTrue();
      assertThat(parameter.leaf().is_leaf()).isTrue();
    }
  }

  @Test
  void inBfloat16TheLeafFollowsWhenRefreshed() {
    // 1 + 2^-10 is no bfloat16, and a small step must not be lost.
    float fine = 1 + 1f / 1024;
    try (Parameter parameter = of(ScalarType.BFloat16, 1, 2);
        NoGradGuard noGrad = new NoGradGuard()) {
      assertThat(parameter.leaf().scalar_type().intern()).isEqualTo(ScalarType.BFloat16);
      parameter.master().copy_(Tensors.ofFloats(new float[] {fine, 3}, 2));
      assertThat(Tensors.toFloats(parameter.leaf())).containsExactly(1, 2);
      parameter.refresh();
      assertThat(Tensors.toFloats(parameter.leaf())).containsExactly(1, 3);
      assertThat(Tensors.toFloats(parameter.master())).containsExactly(fine, 3);
      assertThat(parameter.leaf().is_leaf()).isTrue();
    }
  }

  @Test
  void isSetToAValueOfItsShapeOnly() {
    try (Parameter parameter = of(ScalarType.BFloat16, 1, 2)) {
      parameter.set(Tensors.ofFloats(new float[] {7, 8}, 2));
      assertThat(Tensors.toFloats(parameter.leaf())).containsExactly(7, 8);
      assertThatThrownBy(() -> parameter.set(Tensors.ofFloats(new float[] {7, 8}, 1, 2)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("weight has shape [2], not [1, 2]");
      assertThat(Tensors.toFloats(parameter.master())).containsExactly(7, 8);
    }
  }

  @Test
  void leavesNothingBehind() throws Throwable {
    for (ScalarType type : new ScalarType[] {ScalarType.Float, ScalarType.BFloat16}) {
      Leaks.assertNone(
          () -> {
            try (TensorScope inner = new TensorScope();
                Parameter parameter = of(type, 1, 2)) {
              parameter.set(Tensors.ofFloats(new float[] {7, 8}, 2));
            }
          });
    }
  }

  /**
   * The guards are native objects like tensors: a scope that ends later must not run them again.
   */
  @Test
  void guardsOfTheGradientModeRestoreItOnceAndLeaveNothing() throws Throwable {
    boolean before = GradMode.is_enabled();
    Leaks.assertNone(
        () -> {
          try (TensorScope inner = new TensorScope()) {
            try (AutoGradMode grad = new AutoGradMode(true)) {
              try (NoGradGuard noGrad = new NoGradGuard()) {
                assertThat(GradMode.is_enabled()).isFalse();
              }
              assertThat(GradMode.is_enabled()).isTrue();
            }
            GradMode.set_enabled(!before);
          }
          assertThat(GradMode.is_enabled()).isEqualTo(!before);
          GradMode.set_enabled(before);
        });
  }
}
