package io.llara.model;

import io.llara.kernels.NativeProjection;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A matrix {@code [out, in]} of integers with a scale for each group of neighbours in a row.
 *
 * @param integers int8, {@code [out, in]}; or bytes of two integers of four bits, each plus eight,
 *     the first in the lower half, {@code [out, in / 2]}
 * @param scales float32, {@code [out, groups]}
 * @see io.llara.checkpoint.Quantization
 */
public record QuantizedMatrix(Tensor integers, Tensor scales) implements AutoCloseable {
  /** What is converted at once: intermediate results stay in the processor's cache. */
  private static final int CHUNK_ELEMENTS = 1 << 18;

  /**
   * Rounds a matrix to eight bits; the caller owns the result.
   *
   * @param matrix of any floating type
   */
  static QuantizedMatrix quantize(Tensor matrix) {
    long rows = matrix.size(0);
    long width = matrix.size(1);
    long group = width % NativeProjection.GROUP == 0 ? NativeProjection.GROUP : width;
    try (TensorScope scope = new TensorScope()) {
      Tensor integers =
          torch.empty(new long[] {rows, width}, new TensorOptions(ScalarType.Char), null);
      Tensor scales = torch.empty(rows, width / group);
      forChunks(
          rows,
          width,
          (begin, count) -> {
            Tensor values =
                matrix.narrow(0, begin, count).to(ScalarType.Float).view(count, -1, group);
            Tensor steps = values.abs().amax(new long[] {-1}, true).div(new Scalar(127.0));
            scales.narrow(0, begin, count).copy_(steps.view(count, -1));
            // A group of zeros has no step; NaN in its scale is enough for NaN in its values.
            Tensor whole = values.div(steps.clamp_min(new Scalar(1e-35))).nan_to_num_().round_();
            integers
                .narrow(0, begin, count)
                .copy_(
                    whole
                        .clamp_min_(new Scalar(-127))
                        .clamp_max_(new Scalar(127))
                        .to(ScalarType.Char)
                        .view(count, width));
          });
      return new QuantizedMatrix(scope.own(integers), scope.own(scales));
    }
  }

  private boolean packed() {
    return integers.scalar_type().intern() == ScalarType.Byte;
  }

  /** Returns the width of a row in floating types. */
  long width() {
    return integers.size(1) * (packed() ? 2 : 1);
  }

  /** Returns how many weights share a scale. */
  long group() {
    return width() / scales.size(1);
  }

  /**
   * Returns all of it in a floating type, {@code [out, in]}, rounded once; the caller owns the
   * result.
   */
  Tensor floats(ScalarType type) {
    try (TensorScope scope = new TensorScope()) {
      return scope.own(
          NativeProjection.dequantize(integers, scales, type)
              .orElseGet(() -> floatsByLibtorch(type)));
    }
  }

  /** The same without a kernel of ours, in the innermost scope. */
  private Tensor floatsByLibtorch(ScalarType type) {
    long rows = integers.size(0);
    Tensor result = torch.empty(new long[] {rows, width()}, new TensorOptions(type), null);
    forChunks(
        rows,
        width(),
        (begin, count) ->
            result
                .narrow(0, begin, count)
                .copy_(product(integers.narrow(0, begin, count), scales.narrow(0, begin, count))));
    return result;
  }

  /** Looks rows up in float32, in the caller's innermost scope, {@code [indices, in]}. */
  Tensor rows(Tensor indices) {
    return product(integers.index_select(0, indices), scales.index_select(0, indices));
  }

  private Tensor product(Tensor some, Tensor factors) {
    long rows = some.size(0);
    Tensor values;
    if (packed()) {
      // Little-endian: the lower half of a byte comes first.
      Tensor low = some.bitwise_and(new Scalar(15));
      Tensor high = some.__rshift__(new Scalar(4));
      values = torch.stack(new TensorVector(low, high), -1).to(ScalarType.Float);
      values.sub_(new Scalar(8));
    } else {
      values = some.to(ScalarType.Float);
    }
    values = values.reshape(rows, scales.size(1), group());
    return values.mul_(factors.unsqueeze(-1)).view(rows, width());
  }

  private interface Chunk {
    void run(long begin, long count);
  }

  private static void forChunks(long rows, long width, Chunk chunk) {
    long step = Math.max(1, CHUNK_ELEMENTS / Math.max(1, width));
    for (long begin = 0; begin < rows; begin += step) {
      try (TensorScope scope = new TensorScope()) {
        chunk.run(begin, Math.min(step, rows - begin));
      }
    }
  }

  @Override
  public void close() {
    integers.close();
    scales.close();
  }
}
