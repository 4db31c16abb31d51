package io.llara.kernels;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/** A projection by a weight as it lies in memory; works on every device and under autograd. */
public final class PlainProjection implements SlicedProjection {
  private final Tensor weight;
  private final @Nullable Tensor bias;

  /**
   * Takes ownership of the tensors.
   *
   * @param weight {@code [out, in]}
   * @param bias {@code [out]} or null
   */
  public PlainProjection(Tensor weight, @Nullable Tensor bias) {
    this.weight = weight;
    this.bias = bias;
  }

  /** Returns the weight, {@code [out, in]}; it stays owned by this projection. */
  public Tensor weight() {
    return weight;
  }

  @Override
  public Tensor apply(Tensor x) {
    return linear(x, weight, bias);
  }

  @Override
  public Tensor apply(Tensor x, long begin, long count) {
    return linear(
        x, weight.narrow(0, begin, count), bias == null ? null : bias.narrow(0, begin, count));
  }

  private static Tensor linear(Tensor x, Tensor weight, @Nullable Tensor bias) {
    return bias == null
        ? torch.linear(x, weight)
        : torch.linear(x, weight, new TensorOptional(bias));
  }

  @Override
  public void close() {
    weight.close();
    if (bias != null) {
      bias.close();
    }
  }
}
