package io.llara.kernels;

import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.TensorScope;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * The gradients of {@link FusedKernels}, by the inputs of an operation in their order; sums are
 * float32 and rounded once. Each is computed by the calling thread, so that sums over rows have one
 * order. Results belong to the caller's innermost scope.
 */
final class FusedGradients {
  private FusedGradients() {}

  static List<Tensor> rmsNorm(Tensor x, Tensor weight, Tensor outGradient, double eps) {
    try (TensorScope scope = new TensorScope()) {
      Operand in = new Operand(x);
      Operand scale = in.matching(weight, x.size(1));
      Operand out = in.matching(outGradient, in.count);
      Operand gradient = in.emptyLike();
      Tensor weightGradient = torch.zeros(weight.requires_grad() ? weight.size(0) : 0);
      NativeKernels.rmsNormBackward(
          in.type,
          in.address(),
          scale.address(),
          out.address(),
          gradient.address(),
          weight.requires_grad() ? FusedKernels.address(weightGradient) : 0,
          x.size(0),
          x.size(1),
          (float) eps);
      return List.of(
          scope.keep(gradient.tensor), scope.keep(weightGradient.to(weight.scalar_type())));
    }
  }

  static List<Tensor> gate(Tensor open, Tensor up, Tensor outGradient) {
    try (TensorScope scope = new TensorScope()) {
      Operand opened = new Operand(open);
      Operand other = opened.matching(up, opened.count);
      Operand out = opened.matching(outGradient, opened.count);
      Operand openGradient = opened.emptyLike();
      Operand upGradient = opened.emptyLike();
      NativeKernels.gateBackward(
          opened.type,
          opened.address(),
          other.address(),
          out.address(),
          openGradient.address(),
          upGradient.address(),
          opened.count);
      return List.of(scope.keep(openGradient.tensor), scope.keep(upGradient.tensor));
    }
  }

  /**
   * That of attention.
   *
   * @param kept queries, keys, values and what normalises their scores
   */
  static List<Tensor> attention(
      List<Tensor> kept, Tensor result, Tensor outGradient, List<Span> spans) {
    try (TensorScope scope = new TensorScope()) {
      Tensor q = kept.get(0);
      Tensor k = kept.get(1);
      Operand queries = new Operand(q);
      Operand keys = queries.matching(k, k.numel());
      Operand values = queries.matching(kept.get(2), keys.count);
      Operand out = queries.matching(result, queries.count);
      Operand gradient = queries.matching(outGradient, queries.count);
      Operand queryGradient = queries.emptyLike();
      Tensor keyGradient = torch.zeros(k.shape());
      Tensor valueGradient = torch.zeros(k.shape());
      long width = q.size(2);
      long scratchBytes =
          NativeKernels.attentionBackwardScratch(queries.type, FusedKernels.mostKeys(spans), width);
      NativeKernels.attentionBackward(
          queries.type,
          queries.address(),
          keys.address(),
          values.address(),
          out.address(),
          gradient.address(),
          FusedKernels.address(kept.get(3)),
          queryGradient.address(),
          FusedKernels.address(keyGradient),
          FusedKernels.address(valueGradient),
          q.size(0),
          q.size(1),
          k.size(1),
          width,
          FusedKernels.encode(spans, q.size(0), k.size(0)),
          spans.size(),
          FusedKernels.address(FusedKernels.bytes(scratchBytes)),
          (float) (1 / Math.sqrt(width)));
      return List.of(
          scope.keep(queryGradient.tensor),
          scope.keep(keyGradient.to(k.scalar_type())),
          scope.keep(valueGradient.to(k.scalar_type())));
    }
  }
}
