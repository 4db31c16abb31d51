package io.llara.cuda;

import io.llara.kernels.Float8Rows;
import io.llara.kernels.Kernels.NormedSum;
import io.llara.kernels.Kernels.Rotation;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Element-wise operations as one kernel each. Rows of arguments may be apart, as those of a view of
 * joined projections are. Results belong to the caller's innermost scope. Thread-safe.
 */
final class FusedOperations {
  private static final int MOST_THREADS = 256;
  private static final int WARP = 32;

  /** What a thread loads and stores at once where rows are aligned to it. */
  private static final int CHUNK_BYTES = 16;

  private final Launcher launcher;

  FusedOperations(Launcher launcher) {
    this.launcher = launcher;
  }

  /** See {@link io.llara.kernels.Kernels#rmsNorm}. */
  Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
    return norm(null, x, weight, eps);
  }

  /** See {@link io.llara.kernels.Kernels#addRmsNorm}: the sum takes the place of {@code x}. */
  NormedSum addRmsNorm(Tensor residual, Tensor x, Tensor weight, double eps) {
    Tensor sum = rowsContiguous(x);
    return new NormedSum(sum, norm(rowsContiguous(residual), sum, weight, eps));
  }

  private Tensor norm(@Nullable Tensor residual, Tensor rows, Tensor weight, double eps) {
    Tensor x = rowsContiguous(rows);
    ScalarType type = type(x);
    long width = x.size(1);
    requireLike(x, weight, width);
    Tensor normed = empty(x, x.size(0), width);
    Operands operands = new Operands(type);
    long added = 0;
    long stride = 0;
    if (residual != null) {
      requireLike(x, residual, x.numel());
      stride = residual.stride(0);
      added = operands.address(residual, stride);
    }
    long[] arguments = {
      added,
      operands.address(x, x.stride(0)),
      operands.address(weight, width),
      operands.address(normed, width),
      width,
      stride,
      x.stride(0),
      Double.doubleToRawLongBits(eps),
      operands.wide(width)
    };
    launch("norm", x, width, arguments);
    return normed;
  }

  /** Rotates in place; see {@link io.llara.kernels.Kernels#rotaryOver}. */
  Tensor rotary(Tensor x, Rotation rotation) {
    ScalarType type = type(x);
    long rows = x.size(0);
    long heads = x.size(1);
    long width = x.size(2);
    if (x.stride(2) != 1 || (heads > 1 && x.stride(1) != width)) {
      throw new IllegalArgumentException("the heads of a row must lie one after the other");
    }
    requireLike(x, rotation.cos(), rows * width);
    requireLike(x, rotation.sin(), rows * width);
    Operands operands = new Operands(type);
    long[] arguments = {
      operands.address(x, x.stride(0)),
      operands.address(rotation.cos(), width),
      operands.address(rotation.sin(), width),
      heads,
      width,
      x.stride(0),
      operands.wide(width / 2)
    };
    launch("rotary", x, heads * width / 2, arguments);
    return x;
  }

  /** Returns {@code silu(gate) · up}, all of them {@code [rows, width]}. */
  Tensor gate(Tensor gate, Tensor up) {
    Tensor open = rowsContiguous(gate);
    Tensor value = rowsContiguous(up);
    requireLike(open, value, open.numel());
    long width = open.size(1);
    Tensor out = empty(open, open.size(0), width);
    Operands operands = new Operands(type(open));
    long[] arguments = {
      operands.address(open, open.stride(0)),
      operands.address(value, value.stride(0)),
      operands.address(out, width),
      width,
      open.stride(0),
      value.stride(0),
      operands.wide(width)
    };
    launch("gate", open, width, arguments);
    return out;
  }

  /** See {@link io.llara.kernels.Kernels#float8Rows}. */
  Float8Rows float8Rows(Tensor x) {
    Tensor rows = rowsContiguous(x);
    long width = rows.size(1);
    Tensor values = empty(rows, ScalarType.Float8_e4m3fn, rows.size(0), width);
    Tensor scales = empty(rows, ScalarType.Float, rows.size(0), 1);
    Operands operands = new Operands(type(rows));
    long[] arguments = {
      operands.address(rows, rows.stride(0)),
      address(values),
      address(scales),
      width,
      rows.stride(0),
      operands.wide(width)
    };
    launch("float8", rows, width, arguments);
    return new Float8Rows(values, scales);
  }

  private void launch(String operation, Tensor x, long width, long[] arguments) {
    long rows = x.size(0);
    if (rows == 0 || width == 0 || x.is_meta()) {
      return; // There is nothing to compute.
    }
    long perThread = arguments[arguments.length - 1] == 0 ? 1 : CHUNK_BYTES / bytes(type(x));
    long warps = (width / perThread + WARP - 1) / WARP;
    int threads = WARP * (int) Math.max(1, Math.min(warps, MOST_THREADS / WARP));
    launcher.launch(operation + suffix(type(x)), rows, threads, arguments);
  }

  /** Gathers addresses, and whether all rows begin at multiples of a chunk. */
  private static final class Operands {
    private final int bytes;
    private boolean aligned = true;

    Operands(ScalarType type) {
      this.bytes = bytes(type);
    }

    long address(Tensor tensor, long stride) {
      long address = FusedOperations.address(tensor);
      aligned &= address % CHUNK_BYTES == 0 && stride * bytes % CHUNK_BYTES == 0;
      return address;
    }

    long wide(long width) {
      return aligned && width * bytes % CHUNK_BYTES == 0 ? 1 : 0;
    }
  }

  /** A tensor without elements has no address. */
  private static long address(Tensor tensor) {
    return tensor.is_meta() || tensor.numel() == 0 ? 0 : tensor.data_ptr().address();
  }

  private static Tensor empty(Tensor like, long... shape) {
    return empty(like, type(like), shape);
  }

  private static Tensor empty(Tensor like, ScalarType type, long... shape) {
    return torch.empty(shape, like.options().dtype(new ScalarTypeOptional(type)), null);
  }

  private static Tensor rowsContiguous(Tensor x) {
    return x.stride(1) == 1 ? x : x.contiguous();
  }

  private static void requireLike(Tensor x, Tensor other, long count) {
    if (type(other) != type(x) || other.numel() != count) {
      throw new IllegalArgumentException(
          "expected %d elements of type %s, not %d of type %s"
              .formatted(count, type(x), other.numel(), type(other)));
    }
  }

  /** Enums out of native code are not interned. */
  private static ScalarType type(Tensor tensor) {
    return tensor.scalar_type().intern();
  }

  private static int bytes(ScalarType type) {
    return type == ScalarType.Float ? Float.BYTES : Short.BYTES;
  }

  private static String suffix(ScalarType type) {
    return switch (type) {
      case Float -> "_f32";
      case BFloat16 -> "_bf16";
      case Half -> "_f16";
      default ->
          throw new IllegalArgumentException("expected float32, bfloat16 or float16, not " + type);
    };
  }
}
