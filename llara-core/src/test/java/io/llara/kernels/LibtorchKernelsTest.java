package io.llara.kernels;

import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import java.util.List;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Without gradients; {@link LibtorchKernelsGradientTest} has the same results with them. */
class LibtorchKernelsTest extends KernelsContract {

  @BeforeEach
  void withoutGradients() {
    GradMode.set_enabled(false);
  }

  @AfterEach
  void reset() {
    GradMode.set_enabled(true);
    torch.set_num_threads(1);
  }

  /** Without a matrix unit other operators are called; they work with one too. */
  @Override
  List<Kernels> kernels() {
    return List.of(new LibtorchKernels(true), new LibtorchKernels(false));
  }

  @ParameterizedTest
  @EnumSource
  void severalThreadsTakeLongPromptsToo(Type type) {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(AttentionBatches.plain(300), AttentionBatches.joint(40)), Layout.packed());
    torch.set_num_threads(2);

    checkAttention(mask, 4, 2, 16, type);
  }
}
