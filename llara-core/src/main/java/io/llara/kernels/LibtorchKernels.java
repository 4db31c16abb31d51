package io.llara.kernels;

import com.google.common.math.IntMath;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.Cpu;
import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import java.math.RoundingMode;
import java.util.List;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Kernels made of libtorch's own operators, for inference on CPU. Which of several equal ways is
 * taken was decided by measuring; the reason stands at each place.
 */
public final class LibtorchKernels implements Kernels {
  private static final Operator FLASH_ATTENTION =
      new Operator("aten::_scaled_dot_product_flash_attention_for_cpu", "");

  /**
   * Up to here the fused kernel is as fast as blocks of plain products in float32, and a batch of
   * short prompts is one call.
   */
  private static final int LONGEST_FLASH_FLOAT32 = 64;

  /** The rows of one tile of a processor's matrix unit. */
  private static final int TILE_ROWS = 16;

  /** How many float32 scores fit beside what else an attention block touches: one megabyte. */
  private static final long SCORES_IN_CACHE = 1 << 18;

  /**
   * Query rows handled at once by plain products. Fewer waste less on keys that causality hides,
   * more make the products faster, which wins in long prompts.
   */
  private static final int QUERY_BLOCK = 128;

  private static final int SHORT_QUERY_BLOCK = 64;
  private static final int SHORT = 256;

  private final boolean tiles;

  /** Makes kernels for this processor. */
  public LibtorchKernels() {
    this(Cpu.multipliesTiles());
  }

  /**
   * Makes kernels for a processor with or without a matrix unit, whatever this one has.
   *
   * @param tiles whether bfloat16 is multiplied tile by tile
   */
  LibtorchKernels(boolean tiles) {
    this.tiles = tiles;
  }

  @Override
  public boolean differentiable() {
    return false;
  }

  /**
   * oneDNN compiles a kernel for every number of rows it meets and keeps it: a megabyte for each,
   * and milliseconds. Sixteen rows are one tile of a matrix unit, so that small batches lose
   * little; large ones lose at most 31 rows.
   */
  @Override
  public int paddedRows(int rows) {
    return roundUp(rows, rows <= 256 ? TILE_ROWS : 2 * TILE_ROWS);
  }

  private static int roundUp(int rows, int multiple) {
    return IntMath.divide(rows, multiple, RoundingMode.CEILING) * multiple;
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
    try (TensorScope scope = new TensorScope()) {
      // torch.rms_norm makes several passes over float32 copies; a reduction and a scaling suffice.
      Tensor meanSquare =
          torch
              .linalg_vector_norm(
                  x,
                  new Scalar(2.0),
                  new long[] {1},
                  false,
                  new ScalarTypeOptional(ScalarType.Float))
              .square_()
              .mul_(new Scalar(1.0 / x.size(1)));
      // Batch normalisation in evaluation mode, with a row as its channel, is
      // x / sqrt(variance + eps) in one pass, scaled in float32 for half-precision rows too.
      TensorOptional none = new TensorOptional();
      Tensor normalised =
          torch.batch_norm(
              x.unsqueeze(0),
              none,
              none,
              new TensorOptional(torch.zeros_like(meanSquare)),
              new TensorOptional(meanSquare),
              false,
              0,
              eps,
              false);
      return scope.keep(normalised.squeeze(0).mul_(weight));
    }
  }

  @Override
  public Tensor rotary(Tensor x, Rotation table) {
    try (TensorScope scope = new TensorScope()) {
      long half = x.size(2) / 2;
      Tensor rotated = x.mul(table.cos());
      Tensor first = x.narrow(2, 0, half);
      Tensor second = x.narrow(2, half, half);
      rotated.narrow(2, 0, half).addcmul_(second, table.sin(), new Scalar(-1.0));
      rotated.narrow(2, half, half).addcmul_(first, table.sin(), new Scalar(1.0));
      return scope.keep(rotated);
    }
  }

  @Override
  public Tensor swiGlu(Tensor x, Projection gate, Projection up) {
    try (TensorScope scope = new TensorScope()) {
      // Not as epilogues of the products: oneDNN's read the other factor tile by tile, which costs
      // three times these two passes.
      return scope.keep(torch.silu_(gate.apply(x)).mul_(up.apply(x)));
    }
  }

  @Override
  public Tensor attention(Tensor q, Tensor k, Tensor v, AttentionMask mask) {
    try (TensorScope scope = new TensorScope()) {
      Tensor out = torch.empty_like(q);
      if (tiles || isFloat32(q)) {
        attention(q, k, v, out, mask);
      } else {
        // Without a matrix unit the fused kernel takes twenty times as long in bfloat16.
        attention(floats(q), floats(k), floats(v), out, mask);
      }
      return scope.keep(out.flatten(1, 2));
    }
  }

  private static void attention(Tensor q, Tensor k, Tensor v, Tensor out, AttentionMask mask) {
    List<Span> spans = mask.spans();
    int covered = 0;
    for (int i = 0; i < spans.size(); ) {
      Span span = spans.get(i);
      if (span.queryBegin() > covered) {
        out.narrow(0, covered, span.queryBegin() - covered).zero_();
      }
      int count = usesFlash(q, span) ? alike(spans, i) : 0;
      try (TensorScope spanScope = new TensorScope()) {
        if (count > 0) {
          flash(q, k, v, out, span, count);
        } else {
          blocks(q, k, v, out, span);
          count = 1;
        }
      }
      i += count;
      covered = spans.get(i - 1).queryEnd();
    }
    if (covered < q.size(0)) {
      out.narrow(0, covered, q.size(0) - covered).zero_();
    }
  }

  private static boolean usesFlash(Tensor q, Span span) {
    return isSquare(span)
        && (!isFloat32(q)
            || span.queryCount() <= LONGEST_FLASH_FLOAT32
            || torch.get_num_threads() > 1);
  }

  private static boolean isFloat32(Tensor x) {
    // Enums out of native code are not interned.
    return x.scalar_type().intern() == ScalarType.Float;
  }

  /**
   * A causal span over its own rows: the fused kernel aligns causality top-left, which is the same
   * only here.
   */
  static boolean isSquare(Span span) {
    return span.causal() && span.keys().size() == 1 && span.keyCount() == span.queryCount();
  }

  /**
   * Returns how many spans from {@code first} on are square, of one length, and adjacent in queries
   * and keys.
   */
  static int alike(List<Span> spans, int first) {
    int length = spans.get(first).queryCount();
    int last = first;
    while (last + 1 < spans.size()) {
      Span previous = spans.get(last);
      Span next = spans.get(last + 1);
      if (!isSquare(next)
          || next.queryCount() != length
          || next.queryBegin() != previous.queryEnd()
          || next.keys().get(0).begin() != previous.keys().get(0).end()) {
        break;
      }
      last++;
    }
    return last - first + 1;
  }

  /** The fused kernel over {@code count} sequences of one length. */
  private static void flash(Tensor q, Tensor k, Tensor v, Tensor out, Span span, int count) {
    int length = span.queryCount();
    int firstKey = span.keys().get(0).begin();
    // For half precision the kernel is compiled for every length and kept. Rows that follow a
    // sequence, whosever they are, can be computed along to round the length up: causality hides
    // them from the rows that count.
    int rows = isFloat32(q) ? length : roundUp(length, TILE_ROWS);
    long groups = q.size(1) / k.size(1);
    Tensor result =
        flash(
            sequences(q, span.queryBegin(), count, length, rows),
            sequences(repeat(k, groups), firstKey, count, length, rows),
            sequences(repeat(v, groups), firstKey, count, length, rows));
    out.narrow(0, span.queryBegin(), (long) count * length)
        .view(count, length, q.size(1), q.size(2))
        .copy_(result.narrow(2, 0, length).transpose(1, 2));
  }

  /** Gives every query head a key head of its own: {@code [rows, kvHeads · groups, headDim]}. */
  private static Tensor repeat(Tensor x, long groups) {
    return groups == 1
        ? x
        : x.unsqueeze(2).expand(x.size(0), x.size(1), groups, x.size(2)).flatten(1, 2);
  }

  /**
   * Views rows as {@code [count, heads, rows, headDim]}: {@code count} sequences that begin {@code
   * length} rows apart, each seen {@code rows ≥ length} rows long.
   */
  private static Tensor sequences(Tensor x, int begin, int count, int length, int rows) {
    long heads = x.size(1);
    long headDim = x.size(2);
    long end = begin + (count - 1L) * length + rows;
    Tensor enough =
        end <= x.size(0)
            ? x.narrow(0, begin, end - begin)
            : torch.constant_pad_nd(
                x.narrow(0, begin, x.size(0) - begin), new long[] {0, 0, 0, 0, 0, end - x.size(0)});
    return enough
        .contiguous()
        .as_strided(
            new long[] {count, heads, rows, headDim},
            new long[] {length * heads * headDim, headDim, heads * headDim, 1});
  }

  /** The fused kernel, {@code [sequences, heads, rows, headDim]}; causal. Autograd knows it. */
  static Tensor flash(Tensor q, Tensor k, Tensor v) {
    return FLASH_ATTENTION.call(
        new IValue(q),
        new IValue(k),
        new IValue(v),
        new IValue(0.0),
        new IValue(true),
        new IValue(),
        new IValue());
  }

  /**
   * Blocks of queries over just the keys they may see, as plain products: faster than the fused
   * kernel in float32, and right for spans whose queries are only the end of their keys. As many
   * heads at once as keep their scores in the cache; views are made outside of the loops, since a
   * call into native code costs as much as some thousand products.
   */
  private static void blocks(Tensor q, Tensor k, Tensor v, Tensor out, Span span) {
    long heads = q.size(1);
    long groups = heads / k.size(1);
    int queryCount = span.queryCount();
    int block = Math.min(queryCount, queryBlock(queryCount));
    Tensor queries = heads(floats(q.narrow(0, span.queryBegin(), queryCount)));
    Tensor keys = heads(repeat(floats(gather(k, span.keys())), groups)).transpose(1, 2);
    Tensor values = heads(repeat(floats(gather(v, span.keys())), groups));
    Tensor target = heads(out.narrow(0, span.queryBegin(), queryCount));
    Tensor future = span.causal() ? future(block, keys) : null;
    Tensor none = torch.zeros(new long[] {1, 1, 1}, keys.options());
    Scalar nothing = new Scalar(0.0);
    Scalar scale = new Scalar(1 / Math.sqrt(q.size(2)));
    long atOnce = Math.max(1, Math.min(heads, SCORES_IN_CACHE / ((long) block * span.keyCount())));
    for (long head = 0; head < heads; head += atOnce) {
      long count = Math.min(atOnce, heads - head);
      Tensor someQueries = queries.narrow(0, head, count);
      Tensor someKeys = keys.narrow(0, head, count);
      Tensor someValues = values.narrow(0, head, count);
      Tensor someTarget = target.narrow(0, head, count);
      for (int begin = 0; begin < queryCount; begin += block) {
        int rows = Math.min(block, queryCount - begin);
        int visible = span.visibleKeys(span.queryBegin() + begin + rows - 1);
        try (TensorScope scope = new TensorScope()) {
          // The scale rides along with the product: with a factor of zero nothing is added.
          Tensor scores =
              torch.baddbmm(
                  none,
                  someQueries.narrow(1, begin, rows),
                  someKeys.narrow(2, 0, visible),
                  nothing,
                  scale);
          if (future != null) {
            Tensor own = scores.narrow(2, visible - rows, rows);
            own.add_(rows == block ? future : future.narrow(0, 0, rows).narrow(1, 0, rows));
          }
          torch.softmax_out(scores, scores, 2);
          Tensor weighted = torch.bmm(scores, someValues.narrow(1, 0, visible));
          someTarget.narrow(1, begin, rows).copy_(weighted);
        }
      }
    }
  }

  /** Returns how many of the queries of a span go through plain products at once. */
  static int queryBlock(int queryCount) {
    return queryCount > SHORT ? QUERY_BLOCK : SHORT_QUERY_BLOCK;
  }

  /** Views {@code [rows, heads, headDim]} as {@code [heads, rows, headDim]}. */
  private static Tensor heads(Tensor x) {
    return x.transpose(0, 1);
  }

  /** Minus infinity above the diagonal, zero elsewhere. */
  private static Tensor future(long rows, Tensor like) {
    return torch
        .full(new long[] {rows, rows}, new Scalar(Double.NEGATIVE_INFINITY), like.options())
        .triu_(1);
  }

  /** Scores of half precision would cost more accuracy than anything else in the layer. */
  private static Tensor floats(Tensor x) {
    return x.to(ScalarType.Float);
  }

  private static Tensor gather(Tensor rows, List<KeyRange> ranges) {
    if (ranges.size() == 1) {
      return slice(rows, ranges.get(0));
    }
    TensorVector parts = new TensorVector();
    for (KeyRange range : ranges) {
      parts.push_back(slice(rows, range));
    }
    return torch.cat(parts, 0);
  }

  private static Tensor slice(Tensor rows, KeyRange range) {
    return rows.narrow(0, range.begin(), range.end() - range.begin());
  }
}
