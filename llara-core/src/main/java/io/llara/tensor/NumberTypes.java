package io.llara.tensor;

import io.llara.ComputeType;
import io.llara.checkpoint.StorageType;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** How the number types of files and of the user's choice are called in libtorch. */
public final class NumberTypes {
  private NumberTypes() {}

  /** Returns libtorch's name of a weight's storage type. */
  public static ScalarType of(StorageType type) {
    return switch (type) {
      case F32 -> ScalarType.Float;
      case F16 -> ScalarType.Half;
      case BF16 -> ScalarType.BFloat16;
      default -> throw new IllegalArgumentException(type + " is not a type of weights");
    };
  }

  /** Returns libtorch's name of a compute type; {@code AUTO} is resolved by {@link Cpu#resolve}. */
  public static ScalarType of(ComputeType type) {
    return Cpu.resolve(type) == ComputeType.BFLOAT16 ? ScalarType.BFloat16 : ScalarType.Float;
  }
}
