package io.llara.kernels;

import io.llara.tensor.Tensors;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Normally distributed tensors, the same in every run. */
final class RandomTensors {
  private final Random random = new Random(42);

  /** Returns numbers around 0 in the caller's innermost scope, rounded to a type. */
  Tensor next(ScalarType type, double spread, long... shape) {
    int size = 1;
    for (long n : shape) {
      size *= (int) n;
    }
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = (float) (random.nextGaussian() * spread);
    }
    return Tensors.ofFloats(values, shape).to(type);
  }
}
