package io.llara.cuda;

import io.llara.tensor.Operator;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Flash attention (arXiv 2205.14135, 2307.08691) as libtorch brings it for CUDA: for half precision
 * on compute capability 8.0 and above. It aligns causality bottom-right and shares key heads among
 * groups of query heads.
 */
final class FlashAttention implements PackedAttention {
  private static final String NAME = "aten::_flash_attention_forward";
  private static final Operator OPERATOR = new Operator(NAME, "");

  /** In this version of libtorch; {@value #KNOWN} are given. */
  private static final int DECLARED = PackedAttention.declaredArguments(NAME);

  private static final int KNOWN = 15;

  private static final int WIDEST_HEAD = 256;

  /** Wider ones are differentiated on some devices only. */
  private static final int WIDEST_TRAINED_HEAD = 192;

  @Override
  public String name() {
    return "flash";
  }

  @Override
  public boolean suits(Tensor q) {
    ScalarType type = q.scalar_type().intern();
    return DECLARED >= KNOWN
        && (type == ScalarType.BFloat16 || type == ScalarType.Half)
        && q.size(2) <= (GradMode.is_enabled() ? WIDEST_TRAINED_HEAD : WIDEST_HEAD)
        && q.size(2) % 8 == 0;
  }

  @Override
  public Tensor apply(Tensor q, Tensor k, Tensor v, PackedSequences sequences) {
    return OPERATOR.call(PackedAttention.complete(arguments(q, k, v, sequences), DECLARED));
  }

  static IValue[] arguments(Tensor q, Tensor k, Tensor v, PackedSequences sequences) {
    return new IValue[] {
      new IValue(q),
      new IValue(k),
      new IValue(v),
      new IValue(sequences.queryOffsets()),
      new IValue(sequences.keyOffsets()),
      new IValue(sequences.mostQueries()),
      new IValue(sequences.mostKeys()),
      new IValue(0.0), // dropout
      new IValue(sequences.causal()),
      new IValue(false), // return_debug_mask
      new IValue(PackedAttention.scale(q)),
      new IValue(), // window_size_left
      new IValue(), // window_size_right
      new IValue(), // seqused_k
      new IValue() // alibi_slopes
    };
  }
}
