package io.llara.cuda;

import io.llara.tensor.Operator;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;

/**
 * Memory-efficient attention (arXiv 2112.05682) as libtorch brings it for CUDA: for float32, older
 * GPUs and heads that {@link FlashAttention} does not take.
 */
final class EfficientAttention implements PackedAttention {
  private static final String NAME = "aten::_efficient_attention_forward";
  private static final Operator OPERATOR = new Operator(NAME, "");

  /** In this version of libtorch; {@value #KNOWN} are given. */
  private static final int DECLARED = PackedAttention.declaredArguments(NAME);

  private static final int KNOWN = 14;

  /** Libtorch's numbers of what is masked: nothing, or what follows, aligned bottom-right. */
  private static final long ALL = 0;

  private static final long CAUSAL_BOTTOM_RIGHT = 2;

  @Override
  public String name() {
    return "memory-efficient";
  }

  @Override
  public boolean suits(Tensor q) {
    return DECLARED >= KNOWN && q.size(2) % 8 == 0;
  }

  @Override
  public Tensor apply(Tensor q, Tensor k, Tensor v, PackedSequences sequences) {
    IValue[] all = PackedAttention.complete(arguments(q, k, v, sequences), DECLARED);
    return OPERATOR.call(all).squeeze(0);
  }

  static IValue[] arguments(Tensor q, Tensor k, Tensor v, PackedSequences sequences) {
    long groups = q.size(1) / k.size(1);
    return new IValue[] {
      new IValue(q.unsqueeze(0)),
      new IValue(forEachQueryHead(k, groups)),
      new IValue(forEachQueryHead(v, groups)),
      new IValue(), // bias
      new IValue(sequences.queryOffsets()),
      new IValue(sequences.keyOffsets()),
      new IValue(sequences.mostQueries()),
      new IValue(sequences.mostKeys()),
      new IValue(0.0), // dropout
      new IValue(sequences.causal() ? CAUSAL_BOTTOM_RIGHT : ALL),
      new IValue(GradMode.is_enabled()), // compute_log_sumexp, which its gradient needs
      new IValue(PackedAttention.scale(q)),
      new IValue(), // seqlen_k
      new IValue() // window_size
    };
  }

  /** Returns {@code [1, keys, heads, headDim]}: it wants as many key heads as query heads. */
  private static Tensor forEachQueryHead(Tensor x, long groups) {
    Tensor repeated =
        groups == 1
            ? x
            : x.unsqueeze(2).expand(x.size(0), x.size(1), groups, x.size(2)).flatten(1, 2);
    return repeated.unsqueeze(0);
  }
}
