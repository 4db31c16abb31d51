package io.llara.spi;

import com.google.common.math.IntMath;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.TensorScope;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Kernels for training on CPU, made of operators that autograd records. What they compute equals
 * {@link LibtorchKernels}; how is decided by what the backward pass then costs.
 */
public final class RecordingKernels implements Kernels {
  /** Query rows handled at once; fewer waste less on keys that causality hides. */
  private static final int QUERY_BLOCK = 128;

  private final int rowMultiple;

  /** Creates kernels that take any number of rows. */
  public RecordingKernels() {
    this(1);
  }

  /**
   * Creates kernels that ask for batches with a multiple of some number of rows. oneDNN, which
   * multiplies half precision, compiles a kernel for each number of rows it meets and keeps it:
   * batches that are never of one size would fill the memory.
   */
  public RecordingKernels(int rowMultiple) {
    this.rowMultiple = rowMultiple;
  }

  @Override
  public boolean differentiable() {
    return true;
  }

  @Override
  public int paddedRows(int rows) {
    return IntMath.divide(rows, rowMultiple, RoundingMode.CEILING) * rowMultiple;
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
    try (TensorScope scope = new TensorScope()) {
      Tensor floats = x.to(ScalarType.Float);
      Tensor scale = floats.square().mean(new long[] {1}, true, null).add(new Scalar(eps)).rsqrt();
      return scope.keep(floats.mul(scale).mul(weight).to(x.scalar_type()));
    }
  }

  @Override
  public Tensor rotary(Tensor x, Rotation table) {
    try (TensorScope scope = new TensorScope()) {
      TensorVector halves = torch.chunk(x, 2, 2);
      TensorVector turned = new TensorVector();
      turned.push_back(halves.get(1).neg());
      turned.push_back(halves.get(0));
      Tensor sin = table.sin().repeat(1, 1, 2);
      return scope.keep(x.mul(table.cos()).addcmul(torch.cat(turned, 2), sin));
    }
  }

  @Override
  public Tensor swiGlu(Tensor x, Projection gate, Projection up) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(torch.silu(gate.apply(x)).mul(up.apply(x)));
    }
  }

  @Override
  public Tensor attention(Tensor q, Tensor k, Tensor v, AttentionMask mask) {
    try (TensorScope scope = new TensorScope()) {
      long width = q.size(1) * q.size(2);
      // In float32 throughout: scores of half precision would cost more accuracy than anything else
      // in the layer, and products of every length that a span has are not to be compiled.
      Pieces queries = Pieces.ofQueries(q.to(ScalarType.Float), mask);
      Pieces keys = Pieces.ofKeys(k.to(ScalarType.Float), mask);
      Pieces values = Pieces.ofKeys(v.to(ScalarType.Float), mask);
      TensorVector parts = new TensorVector();
      int covered = 0;
      for (Span span : mask.spans()) {
        pad(parts, span.queryBegin() - covered, width);
        parts.push_back(
            attend(
                queries.between(span.queryBegin(), span.queryEnd()),
                keys.of(span.keys()),
                values.of(span.keys()),
                span));
        covered = span.queryEnd();
      }
      pad(parts, Math.toIntExact(q.size(0)) - covered, width);
      Tensor mixed = parts.size() == 1 ? parts.get(0) : torch.cat(parts, 0);
      return scope.keep(mixed.to(q.scalar_type()));
    }
  }

  private static void pad(TensorVector parts, long rows, long width) {
    if (rows > 0) {
      parts.push_back(torch.zeros(rows, width));
    }
  }

  /** Rows cut at fixed places, so that the gradients of the pieces are simply put together. */
  private static final class Pieces {
    private final List<Integer> begins;
    private final TensorVector pieces;

    private Pieces(Tensor rows, TreeSet<Integer> cuts) {
      int end = Math.toIntExact(rows.size(0));
      cuts.add(0);
      cuts.add(end);
      begins = List.copyOf(cuts);
      long[] sizes = new long[begins.size() - 1];
      for (int i = 0; i < sizes.length; i++) {
        sizes[i] = begins.get(i + 1) - begins.get(i);
      }
      pieces = torch.split_with_sizes(rows, sizes, 0);
    }

    static Pieces ofQueries(Tensor rows, AttentionMask mask) {
      TreeSet<Integer> cuts = new TreeSet<>();
      for (Span span : mask.spans()) {
        cuts.add(span.queryBegin());
        cuts.add(span.queryEnd());
      }
      return new Pieces(rows, cuts);
    }

    static Pieces ofKeys(Tensor rows, AttentionMask mask) {
      TreeSet<Integer> cuts = new TreeSet<>();
      for (Span span : mask.spans()) {
        for (KeyRange range : span.keys()) {
          cuts.add(range.begin());
          cuts.add(range.end());
        }
      }
      return new Pieces(rows, cuts);
    }

    Tensor between(int begin, int end) {
      return of(List.of(new KeyRange(begin, end)));
    }

    Tensor of(List<KeyRange> ranges) {
      List<Tensor> found = new ArrayList<>();
      for (KeyRange range : ranges) {
        for (int i = begins.indexOf(range.begin()); begins.get(i) < range.end(); i++) {
          found.add(pieces.get(i));
        }
      }
      return found.size() == 1
          ? found.get(0)
          : torch.cat(new TensorVector(found.toArray(Tensor[]::new)), 0);
    }
  }

  /**
   * Blocks of queries over just the keys they may see.
   *
   * @param q {@code [queries, heads, headDim]}
   * @param k {@code [keys, kvHeads, headDim]}
   * @return {@code [queries, heads · headDim]}
   */
  private static Tensor attend(Tensor q, Tensor k, Tensor v, Span span) {
    try (TensorScope scope = new TensorScope()) {
      long groups = q.size(1) / k.size(1);
      Tensor keys = heads(repeat(k, groups)).transpose(1, 2);
      Tensor values = heads(repeat(v, groups));
      Scalar scale = new Scalar(1 / Math.sqrt(q.size(2)));
      TensorVector blocks = torch.split(q, QUERY_BLOCK, 0);
      TensorVector out = new TensorVector();
      int begin = 0;
      for (long i = 0; i < blocks.size(); i++) {
        Tensor block = blocks.get(i);
        int rows = Math.toIntExact(block.size(0));
        int visible = span.visibleKeys(span.queryBegin() + begin + rows - 1);
        Tensor scores = torch.bmm(heads(block.mul(scale)), keys.narrow(2, 0, visible));
        if (span.causal()) {
          scores = scores.add(future(rows, visible, scores));
        }
        Tensor shares = torch.softmax(scores, 2);
        Tensor mixed = torch.bmm(shares, values.narrow(1, 0, visible));
        out.push_back(heads(mixed).flatten(1, 2));
        begin += rows;
      }
      return scope.keep(out.size() == 1 ? out.get(0) : torch.cat(out, 0));
    }
  }

  /** Gives every query head a key head of its own: {@code [rows, kvHeads · groups, headDim]}. */
  private static Tensor repeat(Tensor x, long groups) {
    return groups == 1
        ? x
        : x.unsqueeze(2).expand(x.size(0), x.size(1), groups, x.size(2)).flatten(1, 2);
  }

  /** Views {@code [rows, heads, headDim]} as {@code [heads, rows, headDim]}, and back. */
  private static Tensor heads(Tensor x) {
    return x.transpose(0, 1);
  }

  /** Minus infinity where a query is before a key, zero elsewhere; aligned at the ends. */
  private static Tensor future(long rows, long keys, Tensor like) {
    return torch
        .full(new long[] {rows, keys}, new Scalar(Double.NEGATIVE_INFINITY), like.options())
        .triu_(keys - rows + 1);
  }
}
