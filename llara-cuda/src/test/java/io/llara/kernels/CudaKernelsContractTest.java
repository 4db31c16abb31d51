package io.llara.kernels;

import io.llara.cuda.DisguisedAccelerators;
import java.util.List;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Tag;

/** The kernels for GPUs, on the processor. */
@Tag("slow")
class CudaKernelsContractTest {

  /** Everything by libtorch's operators. */
  @Nested
  class Neutral extends KernelsContract {
    @Override
    List<Kernels> kernels() {
      return List.of(DisguisedAccelerators.neutral());
    }
  }

  /** Attention apart, everything by {@code kernels.cu}. */
  @Nested
  class Fused extends KernelsContract {
    @Override
    List<Kernels> kernels() {
      return List.of(DisguisedAccelerators.shim().orElseGet(DisguisedAccelerators::neutral));
    }
  }
}
