package io.llara.kernels;

import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A projection by this project's own kernels. For inference on CPU only.
 *
 * <p>Rows of float32 are multiplied in integers: weights of eight or four bits, with a float32
 * scale for each {@value #GROUP} of them that are neighbours in a row, times rows that are rounded
 * to eight bits in the same way; groups are summed as integers, and their sums in float32.
 *
 * <p>Rows of bfloat16 are multiplied by the matrix unit: weights in bfloat16, or such integers,
 * which become bfloat16 on their way to it; sums are float32.
 */
public final class NativeProjection implements Projection {
  /** How many weights, or activations, share a scale. */
  public static final int GROUP = 32;

  /** How many products take as long as an element of other operations. */
  private static final int PRODUCTS = 8;

  private final int type;
  private final int bits;
  private final long in;
  private final long out;
  private final Tensor matrix;
  private final @Nullable Tensor bias;

  private NativeProjection(ScalarType rowType, int bits, long out, long in, @Nullable Tensor bias) {
    this.type = rowType == ScalarType.BFloat16 ? NativeKernels.BFLOAT16 : NativeKernels.FLOAT32;
    this.bits = bits;
    this.in = in;
    this.out = out;
    try (TensorScope scope = new TensorScope()) {
      this.matrix = scope.own(FusedKernels.bytes(NativeKernels.matrixBytes(bits, out, in)));
    }
    this.bias = bias;
  }

  private static void requireAvailable(ScalarType rowType) {
    if (!available(rowType)) {
      throw new IllegalArgumentException("rows of %s are not multiplied here".formatted(rowType));
    }
  }

  /**
   * Returns whether this build and this processor can multiply rows of a type so.
   *
   * @param rowType float32 or bfloat16; others cannot be multiplied
   */
  public static boolean available(ScalarType rowType) {
    return switch (rowType) {
      case Float -> NativeKernels.load().isPresent();
      case BFloat16 -> NativeKernels.load().equals(Optional.of(NativeKernels.Level.AMX));
      default -> false;
    };
  }

  /**
   * Returns whether a model that is stored in integers is best computed in them here: it loses next
   * to nothing then, and only the matrix unit is faster.
   */
  public static boolean preferredForIntegers() {
    return available(ScalarType.Float) && !available(ScalarType.BFloat16);
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
   * Packs a weight for rows of a type: rounds it to eight bits for float32, to bfloat16 for
   * bfloat16. The result owns its copy and the bias; the weight stays the caller's.
   *
   * @param weight float32 or bfloat16, {@code [out, in]}
   * @param bias {@code [out]}, of the type of rows, or null
   * @param rowType a type that is {@linkplain #available available}
   */
  public static NativeProjection pack(Tensor weight, @Nullable Tensor bias, ScalarType rowType) {
    requireAvailable(rowType);
    int bits = rowType == ScalarType.BFloat16 ? 16 : 8;
    try (TensorScope scope = new TensorScope()) {
      Operand from = new Operand(weight);
      NativeProjection result =
          new NativeProjection(rowType, bits, weight.size(0), weight.size(1), bias);
      NativeKernels.packWeights(
          from.type, bits, from.at(0), result.out, result.in, result.address());
      return result;
    }
  }

  /**
   * Takes a weight that is quantised already. The result owns its copy and the bias; the tensors
   * stay the caller's.
   *
   * @param integers int8, {@code [out, in]}; or bytes of two integers of four bits, each plus
   *     eight, the first in the lower half, {@code [out, in / 2]}
   * @param scales float32, {@code [out, in / scaled]}, where {@code scaled} {@linkplain #takes
   *     fits}
   * @param bias {@code [out]}, of the type of rows, or null
   * @param rowType a type that is {@linkplain #available available}
   */
  public static NativeProjection of(
      Tensor integers, Tensor scales, @Nullable Tensor bias, ScalarType rowType) {
    requireAvailable(rowType);
    boolean four = integers.scalar_type().intern() == ScalarType.Byte;
    long out = integers.size(0);
    long in = integers.size(1) * (four ? 2 : 1);
    long perRow = scales.size(1);
    if (!fit(scales, out, in) || !takes(in / perRow, in)) {
      throw new IllegalArgumentException(
          "scales of [%d, %d] do not fit integers of [%d, %d]"
              .formatted(scales.size(0), perRow, out, in));
    }
    try (TensorScope scope = new TensorScope()) {
      long from = FusedKernels.address(integers.contiguous());
      Operand factors = new Operand(scales);
      NativeProjection result = new NativeProjection(rowType, four ? 4 : 8, out, in, bias);
      NativeKernels.packIntegers(
          result.bits, from, factors.at(0), in / perRow, out, in, result.address());
      return result;
    }
  }

  /** Returns whether scales are float32 and divide each row of a matrix into equal parts. */
  private static boolean fit(Tensor scales, long out, long in) {
    return scales.scalar_type().intern() == ScalarType.Float
        && scales.size(0) == out
        && scales.size(1) > 0
        && in % scales.size(1) == 0;
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
    if (!known
        || !fit(scales, out, in)
        || in / scales.size(1) % GROUP != 0
        || NativeKernels.load().isEmpty()) {
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
    return multiply(x, null);
  }

  @Override
  public Tensor applyAndAdd(Tensor x, Tensor residual) {
    return multiply(x, residual);
  }

  private Tensor multiply(Tensor x, @Nullable Tensor residual) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(multiply(x, pack(x), residual));
    }
  }

  /**
   * Applies projections to the same rows, which are packed once for all of them; empty unless all
   * are of this class, of one input width and row type.
   */
  static Optional<List<Tensor>> all(Tensor x, Projection... projections) {
    List<NativeProjection> own = new ArrayList<>();
    for (Projection projection : projections) {
      if (!(projection instanceof NativeProjection next)
          || !own.isEmpty() && (next.in != own.get(0).in || next.type != own.get(0).type)) {
        return Optional.empty();
      }
      own.add(next);
    }
    try (TensorScope scope = new TensorScope()) {
      long packed = own.get(0).pack(x);
      return Optional.of(
          own.stream().map(each -> scope.keep(each.multiply(x, packed, null))).toList());
    }
  }

  /**
   * Runs a feed-forward block as {@link Kernels#feedForward}: what the gate makes is packed for the
   * last projection at once. Empty unless all are of this class and of one row type, and the first
   * two alike and without bias.
   */
  static Optional<Tensor> feedForward(
      Tensor x, Projection gate, Projection up, Projection down, Tensor residual) {
    if (!(gate instanceof NativeProjection open)
        || !(up instanceof NativeProjection other)
        || !(down instanceof NativeProjection last)
        || last.type != open.type
        || last.in != open.out
        || other.type != open.type
        || other.bits != open.bits
        || other.in != open.in
        || other.out != open.out
        || open.bias != null
        || other.bias != null) {
      return Optional.empty();
    }
    try (TensorScope scope = new TensorScope()) {
      long rows = x.size(0);
      long packed = open.pack(x);
      long gated = last.memory(rows);
      long first = open.address();
      long second = other.address();
      open.share(
          rows,
          2,
          (scratch, begin, end) ->
              NativeKernels.multiplyGated(
                  open.type, open.bits, packed, rows, first, second, open.out, open.in, gated,
                  scratch, begin, end));
      return Optional.of(scope.keep(last.multiply(x, gated, residual)));
    }
  }

  /** Packs rows, in the innermost scope, and returns their address. */
  private long pack(Tensor x) {
    Operand from = new Operand(x);
    long rows = x.size(0);
    if (from.type != type || x.size(1) != in) {
      throw new IllegalArgumentException(
          "expected %s rows of %d, not %s of %d"
              .formatted(
                  type == NativeKernels.FLOAT32 ? "float32" : "bfloat16",
                  in,
                  x.scalar_type().intern(),
                  x.size(1)));
    }
    long packed = memory(rows);
    NativeKernels.packRows(type, from.at(0), rows, in, packed);
    return packed;
  }

  /** Returns memory for packed rows, of the innermost scope. */
  private long memory(long rows) {
    return FusedKernels.address(FusedKernels.bytes(NativeKernels.activationBytes(type, rows, in)));
  }

  /**
   * Multiplies packed rows, in the innermost scope.
   *
   * @param like a tensor with as many rows, of their type
   */
  private Tensor multiply(Tensor like, long packed, @Nullable Tensor residual) {
    long rows = like.size(0);
    Operand to =
        new Operand(
            torch.empty(new long[] {rows, out}, new TensorOptions(like.scalar_type()), null));
    long add = bias == null ? 0 : to.matching(bias, out).at(0);
    long other = residual == null ? 0 : to.matching(residual, rows * out).at(0);
    long weights = address();
    share(
        rows,
        1,
        (scratch, begin, end) ->
            NativeKernels.multiply(
                type, bits, packed, rows, weights, out, in, add, other, to.at(0), scratch, begin,
                end));
    return to.tensor;
  }

  private interface Columns {
    void multiply(long scratch, long begin, long end);
  }

  /** Shares columns of the result among threads, each with memory for so many matrices. */
  private void share(long rows, int matrices, Columns columns) {
    long bytes = matrices * NativeKernels.multiplyScratch(type, bits, rows, in);
    long scratch =
        bytes == 0 ? 0 : FusedKernels.address(FusedKernels.bytes(bytes * torch.get_num_threads()));
    FusedKernels.share(
        out,
        matrices * rows * in / PRODUCTS,
        (part, begin, end) -> columns.multiply(scratch + part * bytes, begin, end));
  }

  @Override
  public void close() {
    matrix.close();
    if (bias != null) {
      bias.close();
    }
  }
}
