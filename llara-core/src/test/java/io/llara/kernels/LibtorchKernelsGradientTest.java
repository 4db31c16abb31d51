package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.kernels.KernelsContract.Type;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;

class LibtorchKernelsGradientTest extends KernelsGradientContract {

  @Override
  Kernels kernels() {
    return new LibtorchKernels();
  }

  @Test
  void rmsNormTakesAWeightOfAnotherType() {
    Tensor x = random(ScalarType.BFloat16, 1, 4, 16);
    Tensor weight = random(ScalarType.Float, 1, 16);

    Tensor normed = kernels.rmsNorm(x, weight, 1e-5);

    assertThat(normed.scalar_type().intern()).isEqualTo(ScalarType.BFloat16);
    assertClose(
        normed, kernels.rmsNorm(x.to(ScalarType.Float), weight, 1e-5), tolerance(Type.BFLOAT16));
  }
}
