package io.llara.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.llara.ComputeType;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class TensorsTest {
  private TensorScope scope;

  @BeforeEach
  void open() {
    Libtorch.load();
    scope = new TensorScope();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  @Test
  void floatsComeBackAsTheyWere() {
    float[] values = {1.5f, -2, Float.MIN_VALUE, Float.NaN, 0, Float.NEGATIVE_INFINITY};

    assertThat(Tensors.toFloats(Tensors.ofFloats(values, 2, 3))).isEqualTo(values);
  }

  @Test
  void viewsComeBackInRowMajorOrder() {
    Tensor matrix = Tensors.ofFloats(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);

    assertThat(Tensors.toFloats(matrix.t())).containsExactly(1, 4, 2, 5, 3, 6);
  }

  @Test
  void otherTypesAreWidened() {
    Tensor half = Tensors.ofFloats(new float[] {0.5f, 1.25f}, 2).to(ScalarType.BFloat16);

    assertThat(Tensors.toFloats(half)).containsExactly(0.5f, 1.25f);
  }

  @Test
  void integersBecomeLongs() {
    Tensor tensor = Tensors.ofInts(new int[] {7, -1, Integer.MAX_VALUE});

    assertThat(tensor.scalar_type().intern()).isEqualTo(ScalarType.Long);
    assertThat(tensor.select(0, 2).item_long()).isEqualTo(Integer.MAX_VALUE);
  }

  @Test
  void emptyArraysAreFine() {
    assertThat(Tensors.toFloats(Tensors.ofFloats(new float[0], 0, 4))).isEmpty();
    assertThat(Tensors.ofInts(new int[0]).numel()).isZero();
  }

  @Test
  void anUnknownOperatorDoesNotExist() {
    Operator unknown = new Operator("llara::no_such_thing", "");

    assertThat(unknown.exists()).isFalse();
    assertThatIllegalStateException().isThrownBy(unknown::call);
  }

  @Test
  void automaticIsResolvedByTheProcessor() {
    assertThat(Cpu.resolve(ComputeType.AUTO))
        .isEqualTo(Cpu.multipliesBfloat16() ? ComputeType.BFLOAT16 : ComputeType.FLOAT32);
    assertThat(Cpu.resolve(ComputeType.BFLOAT16)).isEqualTo(ComputeType.BFLOAT16);
    assertThat(Cpu.resolve(ComputeType.FLOAT32)).isEqualTo(ComputeType.FLOAT32);
    assertThat(Cpu.scalarType(ComputeType.AUTO))
        .isEqualTo(Cpu.multipliesBfloat16() ? ScalarType.BFloat16 : ScalarType.Float);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Cpu.resolve(ComputeType.FLOAT16))
        .withMessageContaining("float16 is for GPUs");
  }

  @Test
  void thereIsMemory() {
    assertThat(Memory.physicalBytes()).isGreaterThan(64L << 20);
  }
}
