package io.llara.kernels;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** An argument or result of a native kernel: a contiguous tensor of a type that it knows. */
final class Operand {
  final Tensor tensor;
  final int type;
  final long count;
  private final long address;

  /**
   * Takes a tensor, or a contiguous copy of it in the innermost scope.
   *
   * @throws IllegalArgumentException if it is neither float32 nor bfloat16
   */
  Operand(Tensor tensor) {
    this.tensor = tensor.is_contiguous() ? tensor : tensor.contiguous();
    ScalarType scalarType = tensor.scalar_type().intern();
    this.type =
        switch (scalarType) {
          case Float -> NativeKernels.FLOAT32;
          case BFloat16 -> NativeKernels.BFLOAT16;
          default ->
              throw new IllegalArgumentException("expected float32 or bfloat16, not " + scalarType);
        };
    this.count = tensor.numel();
    this.address = this.tensor.data_ptr().address();
  }

  /** Takes another tensor, which must have this one's type and {@code count} elements. */
  Operand matching(Tensor other, long count) {
    Operand operand = new Operand(other);
    if (operand.type != type || operand.count != count) {
      throw new IllegalArgumentException(
          "expected %d elements of type %s, not %d of type %s"
              .formatted(
                  count,
                  tensor.scalar_type().intern(),
                  operand.count,
                  other.scalar_type().intern()));
    }
    return operand;
  }

  /** Makes a tensor of this shape and type for results. */
  Operand emptyLike() {
    return new Operand(torch.empty_like(tensor));
  }

  /** Returns the address of the first element. */
  long address() {
    return address;
  }

  /** Returns the address of an element. */
  long at(long index) {
    return address + index * (type == NativeKernels.FLOAT32 ? Float.BYTES : Short.BYTES);
  }
}
