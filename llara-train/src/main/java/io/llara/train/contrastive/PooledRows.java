package io.llara.train.contrastive;

import com.google.common.primitives.Ints;
import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The rows of a packed batch that are pooled, and to which prompt each belongs: their mean in
 * float32, one row where the last token is pooled, not normalised. Immutable.
 */
final class PooledRows {
  final AttentionMask mask;
  private final List<Integer> rows = new ArrayList<>();
  private final List<Integer> owners = new ArrayList<>();
  private final float[] shares;

  PooledRows(List<Prompt> prompts) {
    mask = AttentionMaskFactory.create(prompts, Layout.packed());
    shares = new float[prompts.size()];
    for (int i = 0; i < shares.length; i++) {
      for (Mode mode : Mode.values()) {
        TokenRange pooled = mask.pooled(i, mode);
        for (int row = pooled.begin(); row < pooled.end(); row++) {
          rows.add(row);
          owners.add(i);
        }
      }
      Prompt prompt = prompts.get(i);
      int count = prompt.pooledSelf().length() + prompt.pooledNext().length();
      if (count == 0 || prompt.isJoint()) {
        throw new IllegalArgumentException("expected a prompt of one mode: " + prompt);
      }
      shares[i] = 1f / count;
    }
  }

  int[] rows() {
    return Ints.toArray(rows);
  }

  /** Averages {@code [rows, hidden]} to {@code [prompts, hidden]}, in the innermost scope. */
  Tensor mean(Tensor hidden) {
    try (TensorScope scope = new TensorScope()) {
      Tensor sums = Tensors.zeros(ScalarType.Float, hidden, shares.length, hidden.size(1));
      sums.index_add_(0, owners(hidden), hidden.to(ScalarType.Float));
      return scope.keep(sums.mul_(weights(hidden)));
    }
  }

  /** Takes the gradient by the means back to the rows, in the innermost scope. */
  Tensor backward(Tensor gradient, ScalarType type) {
    try (TensorScope scope = new TensorScope()) {
      Tensor scaled = gradient.mul(weights(gradient));
      return scope.keep(Tensors.rows(scaled, owners(gradient)).to(type));
    }
  }

  private Tensor owners(Tensor beside) {
    return Tensors.ofInts(Ints.toArray(owners), beside);
  }

  private Tensor weights(Tensor beside) {
    return Tensors.placed(Tensors.ofFloats(shares, shares.length, 1), beside);
  }
}
