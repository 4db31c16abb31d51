package io.llara.kernels;

import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * A projection whose weight, and whose rows when they come, are {@linkplain Float8Rows rounded to
 * eight-bit floats}: half the bytes and, on GPUs that multiply them, up to twice the products per
 * second. Results have the type of the rows.
 */
public final class Float8Projection implements SlicedProjection {
  static final String NAME = "aten::_scaled_mm";

  private static final Operator OPERATOR = new Operator(NAME, "");

  /** What the products of GPUs want rows to be multiples of. */
  private static final long MULTIPLE = 16;

  private final Kernels kernels;
  private final Tensor values;
  private final Tensor scales;
  private final @Nullable Tensor bias;

  /**
   * Rounds a weight.
   *
   * @param weight {@code [out, in]}, which {@link #suits}; freed here
   * @param bias {@code [out]} or null; owned from now on, and freed if this fails
   * @param kernels round rows, of the device on which the weight is
   */
  public Float8Projection(Tensor weight, @Nullable Tensor bias, Kernels kernels) {
    this.kernels = kernels;
    this.bias = bias;
    try (TensorScope scope = new TensorScope();
        weight) {
      Float8Rows rounded = kernels.float8Rows(weight);
      this.values = scope.own(rounded.values());
      this.scales = scope.own(rounded.scales());
    } catch (RuntimeException | Error e) {
      if (bias != null) {
        bias.close();
      }
      throw e;
    }
  }

  /** Returns whether a weight can be multiplied so. */
  public static boolean suits(Tensor weight) {
    return weight.size(0) % MULTIPLE == 0 && weight.size(1) % MULTIPLE == 0;
  }

  @Override
  public Tensor apply(Tensor x) {
    return apply(x, 0, values.size(0));
  }

  @Override
  public Tensor apply(Tensor x, long begin, long count) {
    try (TensorScope scope = new TensorScope()) {
      Float8Rows rows = kernels.float8Rows(x);
      Tensor right = values.narrow(0, begin, count).t();
      Tensor columns = scales.narrow(0, begin, count).t();
      Tensor product = product(rows, right, columns, x);
      return scope.keep(bias == null ? product : product.add_(bias.narrow(0, begin, count)));
    }
  }

  /** GPUs take scales of rows and columns; the processor one for all, which is 1 here. */
  private static Tensor product(Float8Rows rows, Tensor right, Tensor columns, Tensor x) {
    if (x.is_meta()) {
      return torch.empty(new long[] {x.size(0), right.size(1)}, x.options(), null);
    }
    if (x.is_cuda()) {
      return OPERATOR.call(arguments(rows.values(), right, rows.scales(), columns, x));
    }
    Tensor one = torch.ones(1);
    return OPERATOR
        .call(arguments(rows.values(), right, one, one, x))
        .mul_(rows.scales())
        .mul_(columns);
  }

  /** The arguments of {@value #NAME}, whose result has the type of {@code x}. */
  static IValue[] arguments(
      Tensor left, Tensor right, Tensor leftScale, Tensor rightScale, Tensor x) {
    return new IValue[] {
      new IValue(left),
      new IValue(right),
      new IValue(leftScale),
      new IValue(rightScale),
      new IValue(), // no bias
      new IValue(), // no scale of the result
      new IValue((long) x.scalar_type().value),
      new IValue(
          x.is_cuda()) // Faster accumulation: on some GPUs sums keep fewer bits than float32.
    };
  }

  @Override
  public void close() {
    values.close();
    scales.close();
    if (bias != null) {
      bias.close();
    }
  }
}
