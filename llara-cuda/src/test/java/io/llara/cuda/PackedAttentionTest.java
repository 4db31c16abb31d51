package io.llara.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.IValue;
import org.junit.jupiter.api.Test;

/** Operators whose arguments other versions of libtorch may append to. */
class PackedAttentionTest {

  @Test
  void argumentsAreCounted() {
    Libtorch.load();
    assertThat(PackedAttention.declaredArguments("aten::relu")).isEqualTo(1);
    assertThat(PackedAttention.declaredArguments("aten::no_such_operator")).isZero();
  }

  @Test
  void argumentsOfLaterVersionsAreAbsent() {
    Libtorch.load();
    try (TensorScope scope = new TensorScope()) {
      IValue[] all = PackedAttention.complete(new IValue[] {new IValue(7L)}, 3);

      assertThat(all).hasSize(3);
      assertThat(all[0].toInt()).isEqualTo(7);
      assertThat(all[1].isNone()).isTrue();
      assertThat(all[2].isNone()).isTrue();
    }
  }
}
