package io.llara.cuda;

import io.llara.tensor.Tensors;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/**
 * The plain way: all queries against all keys of the batch, with a matrix of who sees whom. For
 * every device and type; it takes time and memory that grow with the square of a batch.
 */
final class DenseAttention implements PackedAttention {
  @Override
  public String name() {
    return "dense";
  }

  @Override
  public boolean suits(Tensor q) {
    return true;
  }

  @Override
  public Tensor apply(Tensor q, Tensor k, Tensor v, PackedSequences sequences) {
    return torch
        .scaled_dot_product_attention(
            byHead(q),
            byHead(k),
            byHead(v),
            new TensorOptional(visible(q, sequences)),
            0.0,
            false,
            new DoubleOptional(PackedAttention.scale(q)),
            true)
        .squeeze(0)
        .transpose(0, 1);
  }

  /**
   * Returns {@code [queries, keys]}: the same sequence, and not behind the query, counted from its
   * end.
   */
  private static Tensor visible(Tensor q, PackedSequences sequences) {
    Ends queries = new Ends(sequences.queryEnds(), q);
    Ends keys = new Ends(sequences.keyEnds(), q);
    Tensor same = queries.sequence.unsqueeze(1).eq(keys.sequence.unsqueeze(0));
    return sequences.causal()
        ? same.logical_and(queries.left.unsqueeze(1).le(keys.left.unsqueeze(0)))
        : same;
  }

  /** Of each row: its sequence, and how many rows of that are left. */
  private static final class Ends {
    final Tensor sequence;
    final Tensor left;

    Ends(int[] ends, Tensor beside) {
      int[] of = new int[ends[ends.length - 1]];
      int[] after = new int[of.length];
      for (int i = 0, row = 0; i < ends.length; i++) {
        for (; row < ends[i]; row++) {
          of[row] = i;
          after[row] = ends[i] - row;
        }
      }
      sequence = Tensors.ofInts(of, beside);
      left = Tensors.ofInts(after, beside);
    }
  }

  /** Returns {@code [1, heads, rows, headDim]}. */
  private static Tensor byHead(Tensor x) {
    return x.transpose(0, 1).unsqueeze(0);
  }
}
