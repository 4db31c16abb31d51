package io.llara.kernels;

import com.google.common.math.IntMath;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.TensorScope;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Kernels for training on CPU, made of operators that autograd records. What they compute equals
 * {@link LibtorchKernels} but for rounding; how is decided by what the backward pass then costs. It
 * is dear where autograd has to fill up the gradient of a part with zeros ({@code narrow}), and
 * cheap where parts are cut ({@code split}) or put together.
 *
 * <p>Results are the same to the bit whether they are recorded or not, so that a layer that is run
 * again gives the gradients of the pass it belongs to. Where nothing is recorded, they are written
 * over what is not needed any more.
 */
public final class RecordingKernels implements Kernels {
  /**
   * Up to here the fused kernel, forward and backward, is as fast as blocks of plain products; and
   * it keeps no scores.
   */
  private static final int LONGEST_FLASH = 128;

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
      Tensor scale =
          torch
              .linalg_vector_norm(
                  floats, new Scalar(2.0), new long[] {1}, true, new ScalarTypeOptional())
              .square()
              .mul(new Scalar(1.0 / x.size(1)))
              .add(new Scalar(eps))
              .rsqrt();
      Tensor normalised = floats.mul(scale);
      Tensor scaled = isRecording() ? normalised.mul(weight) : normalised.mul_(weight);
      return scope.keep(scaled.to(x.scalar_type()));
    }
  }

  @Override
  public Tensor rotary(Tensor x, Rotation table) {
    try (TensorScope scope = new TensorScope()) {
      // Laid out by head, as attention wants it, since this writes a new tensor anyway.
      Tensor byHead = heads(x);
      TensorVector halves = torch.chunk(byHead, 2, 2);
      Tensor turned = torch.cat(new TensorVector(halves.get(1), halves.get(0)), 2);
      Tensor sin = torch.cat(new TensorVector(table.sin().neg(), table.sin()), 2);
      return scope.keep(heads(turned.mul_(heads(sin)).addcmul_(byHead, heads(table.cos()))));
    }
  }

  @Override
  public Tensor swiGlu(Tensor x, Projection gate, Projection up) {
    try (TensorScope scope = new TensorScope()) {
      Tensor open = gate.apply(x);
      return scope.keep(
          isRecording() ? torch.silu(open).mul(up.apply(x)) : torch.silu_(open).mul_(up.apply(x)));
    }
  }

  /**
   * In float32 throughout: scores of half precision would cost more accuracy than anything else in
   * the layer, and products of every length that a span has are not to be compiled.
   */
  @Override
  public Tensor attention(Tensor q, Tensor k, Tensor v, AttentionMask mask) {
    try (TensorScope scope = new TensorScope()) {
      Tensor mixed =
          mixed(q.to(ScalarType.Float), k.to(ScalarType.Float), v.to(ScalarType.Float), mask);
      return scope.keep(mixed.to(q.scalar_type()));
    }
  }

  /**
   * What is attended at once: query rows and the key rows that the last of them sees.
   *
   * @param sequences how many causal sequences of one length these rows are, if they go through the
   *     fused kernel; 0 if not
   */
  private record Part(KeyRange queries, List<KeyRange> keys, boolean causal, int sequences) {}

  private static Tensor mixed(Tensor q, Tensor k, Tensor v, AttentionMask mask) {
    List<Part> parts = parts(mask);
    List<KeyRange> queryRanges = parts.stream().map(Part::queries).toList();
    List<KeyRange> keyRanges = parts.stream().flatMap(part -> part.keys().stream()).toList();
    // Plain products are faster on rows that lie close together; the fused kernel packs them
    // anyway.
    boolean packed = parts.stream().anyMatch(part -> part.sequences() == 0);
    Pieces queries = new Pieces(byHead(q, packed), queryRanges);
    Pieces keys = new Pieces(byHead(k, packed), keyRanges);
    Pieces values = new Pieces(byHead(v, packed), keyRanges);
    TensorVector rows = new TensorVector();
    int covered = 0;
    for (Part part : parts) {
      pad(rows, part.queries().begin() - covered, q);
      rows.push_back(
          attend(
              queries.of(List.of(part.queries())),
              keys.of(part.keys()),
              values.of(part.keys()),
              part));
      covered = part.queries().end();
    }
    pad(rows, q.size(0) - covered, q);
    return torch.cat(rows, 0).flatten(1, 2);
  }

  private static Tensor byHead(Tensor x, boolean packed) {
    return packed ? heads(x).contiguous() : heads(x);
  }

  private static List<Part> parts(AttentionMask mask) {
    List<Span> spans = mask.spans();
    List<Part> parts = new ArrayList<>();
    for (int i = 0; i < spans.size(); ) {
      Span span = spans.get(i);
      if (LibtorchKernels.isSquare(span) && span.queryCount() <= LONGEST_FLASH) {
        int count = LibtorchKernels.alike(spans, i);
        Span last = spans.get(i + count - 1);
        parts.add(
            new Part(
                new KeyRange(span.queryBegin(), last.queryEnd()),
                List.of(new KeyRange(span.keys().get(0).begin(), last.keys().get(0).end())),
                true,
                count));
        i += count;
        continue;
      }
      int step = LibtorchKernels.queryBlock(span.queryCount());
      for (int begin = span.queryBegin(); begin < span.queryEnd(); begin += step) {
        KeyRange block = new KeyRange(begin, Math.min(span.queryEnd(), begin + step));
        parts.add(new Part(block, visible(span, block.end() - 1), span.causal(), 0));
      }
      i++;
    }
    return parts;
  }

  /** Returns the keys that a query row sees. */
  private static List<KeyRange> visible(Span span, int queryRow) {
    int left = span.visibleKeys(queryRow);
    List<KeyRange> seen = new ArrayList<>();
    for (KeyRange range : span.keys()) {
      if (left > 0) {
        int length = Math.min(left, range.length());
        seen.add(new KeyRange(range.begin(), range.begin() + length));
        left -= length;
      }
    }
    return seen;
  }

  private static void pad(TensorVector parts, long rows, Tensor like) {
    if (rows > 0) {
      parts.push_back(torch.zeros(rows, like.size(1), like.size(2)));
    }
  }

  /** Rows by head, cut at fixed places, so that the gradients of pieces are simply put together. */
  private static final class Pieces {
    private final List<Integer> begins;
    private final TensorVector pieces;

    /** Cuts {@code [heads, rows, headDim]} where ranges begin and end. */
    Pieces(Tensor byHead, List<KeyRange> ranges) {
      TreeSet<Integer> cuts = new TreeSet<>(List.of(0, Math.toIntExact(byHead.size(1))));
      ranges.forEach(range -> cuts.addAll(List.of(range.begin(), range.end())));
      begins = List.copyOf(cuts);
      long[] sizes = new long[begins.size() - 1];
      for (int i = 0; i < sizes.length; i++) {
        sizes[i] = begins.get(i + 1) - begins.get(i);
      }
      pieces = torch.split_with_sizes(byHead, sizes, 1);
    }

    /** Returns rows one range after the other, {@code [heads, rows, headDim]}. */
    Tensor of(List<KeyRange> ranges) {
      TensorVector found = new TensorVector();
      for (KeyRange range : ranges) {
        for (int i = begins.indexOf(range.begin()); begins.get(i) < range.end(); i++) {
          found.push_back(pieces.get(i));
        }
      }
      return found.size() == 1 ? found.get(0) : torch.cat(found, 1);
    }
  }

  /**
   * Queries over the keys that their last row sees; when causal, the others see fewer.
   *
   * @param q {@code [heads, queries, headDim]}
   * @param k {@code [kvHeads, keys, headDim]}
   * @return {@code [queries, heads, headDim]}
   */
  private static Tensor attend(Tensor q, Tensor k, Tensor v, Part part) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(
          heads(
              part.sequences() > 0
                  ? flash(q, k, v, part.sequences())
                  : products(q, k, v, part.causal())));
    }
  }

  private static Tensor flash(Tensor q, Tensor k, Tensor v, int sequences) {
    long groups = q.size(0) / k.size(0);
    return LibtorchKernels.flash(
            sequences(q, 1, sequences),
            sequences(k, groups, sequences),
            sequences(v, groups, sequences))
        .transpose(0, 1)
        .flatten(1, 2);
  }

  /** Views {@code [kvHeads, rows, headDim]} as {@code [sequences, heads, rows, headDim]}. */
  private static Tensor sequences(Tensor x, long groups, int sequences) {
    long rows = x.size(1) / sequences;
    Tensor apart = x.view(x.size(0), sequences, rows, x.size(2)).transpose(0, 1);
    return groups == 1
        ? apart
        : apart.unsqueeze(2).expand(sequences, x.size(0), groups, rows, x.size(2)).flatten(1, 2);
  }

  private static Tensor products(Tensor q, Tensor k, Tensor v, boolean causal) {
    long rows = q.size(1);
    // Query heads that share a key head stand below each other.
    Tensor grouped = q.reshape(k.size(0), q.size(0) / k.size(0) * rows, q.size(2));
    // The scale rides along with the product: with a factor of zero nothing is added.
    Tensor scores =
        torch.baddbmm(
            torch.zeros(1, 1, 1),
            grouped,
            k.transpose(1, 2),
            new Scalar(0.0),
            new Scalar(1 / Math.sqrt(q.size(2))));
    if (causal && rows > 1) {
      // Behind autograd's back: nothing needs the scores as they were, and those that become minus
      // infinity pass no gradient on.
      scores
          .detach()
          .view(q.size(0), rows, k.size(1))
          .narrow(2, k.size(1) - rows, rows)
          .add_(future(rows));
    }
    Tensor shares = isRecording() ? torch.softmax(scores, 2) : torch.softmax_out(scores, scores, 2);
    return torch.bmm(shares, v).view(q.sizes());
  }

  private static boolean isRecording() {
    return GradMode.is_enabled();
  }

  /** Views {@code [rows, heads, headDim]} as {@code [heads, rows, headDim]}, and back. */
  private static Tensor heads(Tensor x) {
    return x.transpose(0, 1);
  }

  /** Minus infinity above the diagonal, zero elsewhere. */
  private static Tensor future(long rows) {
    return torch.full(new long[] {rows, rows}, new Scalar(Double.NEGATIVE_INFINITY)).triu_(1);
  }
}
