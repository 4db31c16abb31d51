package io.llara.kernels;

import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The gradients that were written by hand, of the instructions that {@code io.llara.kernels}
 * allows; the build runs this once for each level.
 */
class FusedKernelsGradientTest extends KernelsGradientContract {

  @BeforeEach
  void needKernels() {
    assumeTrue(FusedKernels.instructions().isPresent(), "no kernels are compiled for this machine");
  }

  @Override
  Kernels kernels() {
    return new FusedKernels();
  }

  @Test
  void withoutATapeNoGradientIsLostInSilence() {
    Tensor x = leaf(random(ScalarType.Float, 1, 2, 8));
    Tensor weight = random(ScalarType.Float, 1, 8);

    assertThatThrownBy(() -> kernels.rmsNorm(x, weight, 1e-5))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("these kernels are differentiated on a GradientTape");
  }

  /**
   * Operations that follow each other, branch, and join with others that autograd differentiates.
   */
  @Test
  void gradientsGoThroughSeveralCuts() {
    Kernels libtorch = new LibtorchKernels();
    Tensor x = leaf(random(ScalarType.Float, 1, 5, 8));
    Tensor weight = leaf(random(ScalarType.Float, 1, 8));
    Tensor product = leaf(random(ScalarType.Float, 0.5, 8, 8));
    Tensor gradient = random(ScalarType.Float, 1, 5, 8);
    List<Tensor> inputs = List.of(x, weight, product);

    Differentiated actual =
        differentiate(() -> block(kernels, x, weight, product), gradient, inputs);

    Differentiated expected =
        differentiate(() -> block(libtorch, x, weight, product), gradient, inputs);
    assertClose(actual.result(), expected.result(), 1e-5);
    for (int i = 0; i < inputs.size(); i++) {
      assertClose(actual.gradients().get(i), expected.gradients().get(i), 1e-4);
    }
  }

  private static Tensor block(Kernels kernels, Tensor x, Tensor weight, Tensor product) {
    Projection projection = by(product);
    Tensor h = kernels.swiGlu(kernels.rmsNorm(x, weight, 1e-5), projection, projection).add(x);
    kernels.rmsNorm(h, weight, 1e-5); // Nothing reads this one.
    return torch.tanh(kernels.rmsNorm(h, weight, 1e-5)).add(h);
  }
}
