package io.llara.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.testing.Leaks;
import io.llara.testing.ResidentSet;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class OperatorTest {
  private static final int LISTS = 20_000;

  @Test
  void callsAnOperatorByName() {
    Operator add = new Operator("aten::add", "Tensor");
    try (TensorScope scope = new TensorScope()) {
      Tensor two = torch.ones(3).add(torch.ones(3));

      Tensor sum =
          add.call(new IValue(two), new IValue(torch.ones(3)), new IValue(new Scalar(2.0)));

      assertThat(Tensors.toFloats(sum)).containsExactly(4, 4, 4);
    }
  }

  @Test
  void saysThatAnOperatorIsMissing() {
    Operator none = new Operator("aten::no_such_operator", "");

    assertThat(none.exists()).isFalse();
    assertThatThrownBy(none::call)
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("this build of libtorch does not have the operator");
  }

  @Test
  void emptyListsOfAnArgumentLeaveNothingBehind() throws Throwable {
    ResidentSet.assumeKnown();
    // Its arguments are written to, which makes copies of its schema large.
    Operator operator = new Operator("aten::_fused_adamw_", "");
    makeLists(operator);
    long before = ResidentSet.kib();

    Leaks.assertNone(() -> makeLists(operator));

    // Half a kilobyte for each of one round, where a copy of the schema would be some kilobytes.
    assertThat(ResidentSet.kib() - before).isLessThan(LISTS / 2);
  }

  private static void makeLists(Operator operator) {
    for (int i = 0; i < LISTS; i++) {
      try (TensorScope scope = new TensorScope()) {
        assertThat(operator.emptyList(0).toList().size()).isZero();
      }
    }
  }
}
