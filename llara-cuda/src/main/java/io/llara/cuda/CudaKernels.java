package io.llara.cuda;

import io.llara.attention.AttentionMask.Span;
import io.llara.kernels.Float8Rows;
import io.llara.kernels.Kernels;
import io.llara.kernels.Projection;
import io.llara.tensor.TensorScope;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * Kernels for a GPU: attention by libtorch's kernels for packed sequences, one call for all causal
 * spans of a batch and one for all others, and the operations around it fused. What cannot be used
 * there is replaced by libtorch's operators, which run on every device.
 *
 * <p>Without fused operations autograd differentiates them, and results are the same in either
 * gradient mode: they are the kernels for training.
 */
final class CudaKernels implements Kernels {
  private final Device device;
  private final @Nullable FusedOperations fused;
  private final List<PackedAttention> attentions;

  /**
   * Makes kernels.
   *
   * @param fused null for libtorch's operators
   * @param attentions in order of preference; the last one suits everything
   */
  CudaKernels(Device device, @Nullable FusedOperations fused, List<PackedAttention> attentions) {
    this.device = device;
    this.fused = fused;
    this.attentions = List.copyOf(attentions);
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
    if (fused != null) {
      return fused.rmsNorm(x, weight, eps);
    }
    return torch.rms_norm(
        x, new long[] {x.size(1)}, new TensorOptional(weight), new DoubleOptional(eps));
  }

  @Override
  public NormedSum addRmsNorm(
      Projection projection, Tensor x, Tensor residual, Tensor weight, double eps) {
    return fused == null
        ? Kernels.super.addRmsNorm(projection, x, residual, weight, eps)
        : fused.addRmsNorm(residual, projection.apply(x), weight, eps);
  }

  @Override
  public Tensor rotary(Tensor x, Rotation rotation) {
    if (fused != null) {
      return fused.rotary(x.clone(), rotation);
    }
    try (TensorScope scope = new TensorScope()) {
      long half = x.size(2) / 2;
      Tensor swapped =
          torch.cat(new TensorVector(x.narrow(2, half, half), x.narrow(2, 0, half)), 2);
      return scope.keep(swapped.mul_(rotation.sin()).addcmul_(x, rotation.cos()));
    }
  }

  @Override
  public Tensor rotaryOver(Tensor x, Rotation rotation) {
    return fused == null ? rotary(x, rotation) : fused.rotary(x, rotation);
  }

  @Override
  public Tensor swiGlu(Tensor x, Projection gate, Projection up) {
    try (TensorScope scope = new TensorScope()) {
      List<Tensor> factors = Projection.all(x, gate, up);
      if (fused != null) {
        return scope.keep(fused.gate(factors.get(0), factors.get(1)));
      }
      Tensor open = torch.silu(factors.get(0));
      // Autograd needs it as it is.
      return scope.keep(
          GradMode.is_enabled() ? open.mul(factors.get(1)) : open.mul_(factors.get(1)));
    }
  }

  @Override
  public Float8Rows float8Rows(Tensor x) {
    return fused == null ? Kernels.super.float8Rows(x) : fused.float8Rows(x);
  }

  @Override
  public Tensor attention(Tensor q, Tensor k, Tensor v, List<Span> spans) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(attention(spans).apply(q, k, v));
    }
  }

  @Override
  public Attention attention(List<Span> spans) {
    List<PackedSequences> kinds =
        Stream.of(true, false)
            .map(causal -> spans.stream().filter(span -> span.causal() == causal).toList())
            .filter(kind -> !kind.isEmpty())
            .map(kind -> new PackedSequences(kind, device))
            .toList();
    return (q, k, v) -> {
      try (TensorScope scope = new TensorScope()) {
        return scope.keep(attend(q, k, v, kinds).flatten(1, 2));
      }
    };
  }

  private Tensor attend(Tensor q, Tensor k, Tensor v, List<PackedSequences> kinds) {
    PackedAttention suitable =
        attentions.stream().filter(attention -> attention.suits(q)).findFirst().orElseThrow();
    if (kinds.size() == 1 && kinds.get(0).isWhole(q)) {
      PackedSequences all = kinds.get(0);
      return suitable.apply(q, all.keys(k), all.keys(v), all);
    }
    Tensor out = torch.zeros_like(q);
    for (PackedSequences kind : kinds) {
      kind.put(suitable.apply(kind.queries(q), kind.keys(k), kind.keys(v), kind), out);
    }
    return out;
  }
}
