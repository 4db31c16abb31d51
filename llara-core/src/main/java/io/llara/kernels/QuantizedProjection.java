package io.llara.kernels;

import io.llara.tensor.TensorScope;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A projection in integers: weights of eight or four bits, with a float32 scale for each {@value
 * #GROUP} of them that are neighbours in a row, times rows that are rounded to eight bits in the
 * same way. Groups are summed as integers, and their sums in float32. For inference on CPU only.
 */
public final class QuantizedProjection implements Projection {
  /** How many weights, or activations, share a scale. */
  public static final int GROUP = 32;

  /** How many products take as long as an element of other operations. */
  private static final int PRODUCTS = 8;

  private final int bits;
  private final long in;
  private final long out;
  private final Tensor matrix;
  private final @Nullable Tensor bias;

  private QuantizedProjection(int bits, long out, long in, @Nullable Tensor bias) {
    this.bits = bits;
    this.in = in;
    this.out = out;
    try (TensorScope scope = new TensorScope()) {
      this.matrix = scope.own(FusedKernels.bytes(NativeKernels.matrixBytes(bits, out, in)));
    }
    this.bias = bias;
  }

  /** Returns whether this build and this processor can multiply integers. */
  public static boolean available() {
    return NativeKernels.load().isPresent();
  }

  /**
   * Returns whether integers can be taken as they are, given how many weights share one of their
   * scales.
   *
   * @param in the width of their rows
   */
  public static boolean takes(long scaled, long in) {
    return scaled == in || scaled % GROUP == 0;
  }

  /**
   * Rounds a weight to eight bits. The result owns its copy and the bias; the weight stays the
   * caller's.
   *
   * @param weight float32 or bfloat16, {@code [out, in]}
   * @param bias float32, {@code [out]}, or null
   */
  public static QuantizedProjection quantize(Tensor weight, @Nullable Tensor bias) {
    QuantizedProjection result = new QuantizedProjection(8, weight.size(0), weight.size(1), bias);
    try (TensorScope scope = new TensorScope()) {
      Operand from = new Operand(weight);
      NativeKernels.packWeights(from.type, from.at(0), result.out, result.in, result.address());
    }
    return result;
  }

  /**
   * Takes a weight that is quantised already. The result owns its copy and the bias; the tensors
   * stay the caller's.
   *
   * @param integers int8, {@code [out, in]}; or bytes of two integers of four bits, each plus
   *     eight, the first in the lower half, {@code [out, in / 2]}
   * @param scales float32, {@code [out, in / scaled]}, where {@code scaled} {@linkplain #takes
   *     fits}
   * @param bias float32, {@code [out]}, or null
   */
  public static QuantizedProjection of(Tensor integers, Tensor scales, @Nullable Tensor bias) {
    boolean four = integers.scalar_type().intern() == ScalarType.Byte;
    long out = integers.size(0);
    long in = integers.size(1) * (four ? 2 : 1);
    long scaled = in / scales.size(1);
    if (!takes(scaled, in) || scales.size(0) != out) {
      throw new IllegalArgumentException(
          "scales of [%d, %d] do not fit integers of [%d, %d]"
              .formatted(scales.size(0), scales.size(1), out, in));
    }
    QuantizedProjection result = new QuantizedProjection(four ? 4 : 8, out, in, bias);
    try (TensorScope scope = new TensorScope()) {
      NativeKernels.packIntegers(
          result.bits,
          FusedKernels.address(integers.contiguous()),
          new Operand(scales).at(0),
          scaled,
          out,
          in,
          result.address());
    }
    return result;
  }

  /**
   * Returns what integers stand for in a floating type, {@code [out, in]}, in the innermost scope;
   * empty if there is no kernel for it.
   *
   * @param integers as in {@link #of}
   * @param scales float32, {@code [out, in / scaled]}
   */
  public static Optional<Tensor> dequantize(Tensor integers, Tensor scales, ScalarType type) {
    boolean four = integers.scalar_type().intern() == ScalarType.Byte;
    long out = integers.size(0);
    long in = integers.size(1) * (four ? 2 : 1);
    boolean known = type == ScalarType.Float || type == ScalarType.BFloat16;
    if (!known || scales.numel() == 0 || in / scales.size(1) % GROUP != 0 || !available()) {
      return Optional.empty();
    }
    try (TensorScope scope = new TensorScope()) {
      Operand to = new Operand(torch.empty(new long[] {out, in}, new TensorOptions(type), null));
      NativeKernels.dequantize(
          to.type,
          four ? 4 : 8,
          FusedKernels.address(integers.contiguous()),
          new Operand(scales).at(0),
          in / scales.size(1),
          to.at(0),
          to.count);
      return Optional.of(scope.keep(to.tensor));
    }
  }

  private long address() {
    return FusedKernels.address(matrix);
  }

  @Override
  public Tensor apply(Tensor x) {
    return apply(x, null);
  }

  @Override
  public Tensor applyAndAdd(Tensor x, Tensor residual) {
    return apply(x, residual);
  }

  private Tensor apply(Tensor x, @Nullable Tensor residual) {
    try (TensorScope scope = new TensorScope()) {
      long rows = x.size(0);
      Operand from = new Operand(x);
      Operand to = new Operand(torch.empty(rows, out));
      if (from.type != to.type || x.size(1) != in) {
        throw new IllegalArgumentException(
            "expected float32 rows of %d, not %s of %d"
                .formatted(in, x.scalar_type().intern(), x.size(1)));
      }
      long add = bias == null ? 0 : to.matching(bias, out).at(0);
      long other = residual == null ? 0 : to.matching(residual, rows * out).at(0);
      long activations =
          FusedKernels.address(FusedKernels.bytes(NativeKernels.activationBytes(rows, in)));
      NativeKernels.quantizeRows(from.at(0), rows, in, activations);
      long weights = address();
      FusedKernels.share(
          out,
          rows * in / PRODUCTS,
          (part, begin, end) ->
              NativeKernels.multiply(
                  bits, activations, rows, weights, out, in, add, other, to.at(0), begin, end));
      return scope.keep(to.tensor);
    }
  }

  @Override
  public void close() {
    matrix.close();
    if (bias != null) {
      bias.close();
    }
  }
}
