package io.llara.kernels;

import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * A projection whose weight lies in oneDNN's own blocked layout, so that no call rearranges it
 * again. For inference on CPU only: autograd does not know it.
 */
public final class PackedProjection implements Projection {
  private static final Operator REORDER = new Operator("mkldnn::_reorder_linear_weight", "");
  private static final Operator LINEAR = new Operator("mkldnn::_linear_pointwise", "");

  /** Says whether oneDNN multiplies bfloat16 on this processor. */
  private static final Operator BFLOAT16 = new Operator("mkldnn::_is_mkldnn_bf16_supported", "");

  private final Tensor weight;
  private final @Nullable Tensor bias;

  private PackedProjection(Tensor weight, @Nullable Tensor bias) {
    this.weight = weight;
    this.bias = bias;
  }

  /**
   * Returns whether this build of libtorch and this processor can pack weights of a type. Packed
   * bfloat16 needs AVX-512 (BW, VL and DQ) or AVX-NE-CONVERT on x86.
   *
   * @param type float32 or bfloat16
   */
  public static boolean available(ScalarType type) {
    return torch.hasMKLDNN()
        && REORDER.exists()
        && LINEAR.exists()
        && (type != ScalarType.BFloat16 || BFLOAT16.exists() && BFLOAT16.test());
  }

  /**
   * Packs a weight. The result owns its copy and the bias; the weight stays the caller's.
   *
   * @param weight {@code [out, in]}, of a type that is {@linkplain #available available}
   * @param bias {@code [out]} or null
   * @param rows the number of rows for which the layout is chosen; others work as well
   */
  public static PackedProjection pack(Tensor weight, @Nullable Tensor bias, long rows) {
    try (TensorScope scope = new TensorScope()) {
      Tensor packed = REORDER.call(new IValue(weight), new IValue(rows));
      return new PackedProjection(scope.own(packed), bias);
    }
  }

  @Override
  public Tensor apply(Tensor x) {
    return LINEAR.call(
        new IValue(x),
        new IValue(weight),
        bias == null ? new IValue() : new IValue(bias),
        new IValue("none"),
        LINEAR.emptyList(4),
        new IValue());
  }

  @Override
  public void close() {
    weight.close();
    if (bias != null) {
      bias.close();
    }
  }
}
