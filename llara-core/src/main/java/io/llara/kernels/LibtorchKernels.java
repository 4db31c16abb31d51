package io.llara.kernels;

import com.google.common.math.IntMath;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.Operator;
import io.llara.tensor.TensorScope;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Kernels made of libtorch's own operators, which autograd differentiates: for training and
 * inference where there are no {@link FusedKernels}. Which of several equal ways is taken was
 * decided by measuring; the reason stands at each place.
 *
 * <p>Results are the same to the bit in either gradient mode, so that a layer that is run again
 * gives the gradients of the pass it belongs to. Without gradients they are written over what is
 * not needed any more.
 */
public final class LibtorchKernels implements Kernels {
  private static final Operator FLASH_ATTENTION =
      new Operator("aten::_scaled_dot_product_flash_attention_for_cpu", "");

  /**
   * Up to here libtorch's flash kernel is as fast as blocks of plain products, forward and
   * backward; it keeps no scores, and a batch of short prompts is one call.
   */
  private static final int LONGEST_FLASH = 96;

  /**
   * Query rows handled at once by plain products. Fewer waste less on keys that causality hides,
   * more make the products faster, which wins in long prompts.
   */
  private static final int BLOCK = 128;

  private static final int SHORT_BLOCK = 64;
  private static final int SHORT = 256;

  /** The rows of one tile of a processor's matrix unit. */
  private static final int TILE_ROWS = 16;

  private final boolean tiles;

  /** Makes kernels whose attention is computed in float32. */
  public LibtorchKernels() {
    this(false);
  }

  /**
   * Makes kernels for inference on a processor with or without a matrix unit.
   *
   * @param tiles whether attention in bfloat16 stays so: with a matrix unit libtorch's flash kernel
   *     is many times as fast, without one it takes twenty times as long as in float32
   */
  LibtorchKernels(boolean tiles) {
    this.tiles = tiles;
  }

  private static boolean gradients() {
    return GradMode.is_enabled();
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
    try (TensorScope scope = new TensorScope()) {
      Tensor floats = x.to(ScalarType.Float);
      // The norm, not the mean of squares: one pass over the rows.
      Tensor scale =
          torch
              .linalg_vector_norm(
                  floats, new Scalar(2.0), new long[] {1}, true, new ScalarTypeOptional())
              .square()
              .mul(new Scalar(1.0 / x.size(1)))
              .add(new Scalar(eps))
              .rsqrt();
      Tensor normalised = floats.mul(scale);
      Tensor scaled = gradients() ? normalised.mul(weight) : normalised.mul_(weight);
      return scope.keep(scaled.to(x.scalar_type()));
    }
  }

  @Override
  public Tensor rotary(Tensor x, Rotation rotation) {
    try (TensorScope scope = new TensorScope()) {
      Tensor swapped = torch.roll(x, new long[] {x.size(2) / 2}, new long[] {2});
      return scope.keep(swapped.mul_(rotation.sin()).addcmul_(x, rotation.cos()));
    }
  }

  @Override
  public Tensor swiGlu(Tensor x, Projection gate, Projection up) {
    try (TensorScope scope = new TensorScope()) {
      Tensor open = gate.apply(x);
      return scope.keep(
          gradients() ? torch.silu(open).mul(up.apply(x)) : torch.silu_(open).mul_(up.apply(x)));
    }
  }

  @Override
  public Tensor attention(Tensor q, Tensor k, Tensor v, List<Span> spans) {
    try (TensorScope scope = new TensorScope()) {
      ScalarType type = q.scalar_type().intern(); // Enums out of native code are not interned.
      // Scores of half precision would cost more accuracy than anything else in the layer; the
      // fused kernel sums them in float32.
      boolean half =
          tiles
              && type == ScalarType.BFloat16
              && spans.stream().allMatch(LibtorchKernels::isSquare);
      ScalarType inner = half ? type : ScalarType.Float;
      Tensor out = attend(q.to(inner), k.to(inner), v.to(inner), parts(spans, half));
      return scope.keep(out.flatten(1, 2).to(type));
    }
  }

  /**
   * What is attended at once.
   *
   * @param span a block of query rows and the keys that the last of them sees, or several sequences
   *     as if they were one
   * @param sequences how many square spans of one length these are, for libtorch's flash kernel; 0
   *     for plain products
   */
  private record Part(Span span, int sequences) {
    KeyRange queries() {
      return new KeyRange(span.queryBegin(), span.queryEnd());
    }
  }

  private static List<Part> parts(List<Span> spans, boolean half) {
    // Several threads share the heads of libtorch's flash kernel, but not those of a product.
    boolean flash = half || torch.get_num_threads() > 1;
    List<Part> parts = new ArrayList<>();
    for (int i = 0; i < spans.size(); ) {
      Span span = spans.get(i);
      if (isSquare(span) && (flash || span.queryCount() <= LONGEST_FLASH)) {
        int count = alike(spans, i);
        Span last = spans.get(i + count - 1);
        KeyRange keys = new KeyRange(span.keys().get(0).begin(), last.keys().get(0).end());
        parts.add(
            new Part(new Span(span.queryBegin(), last.queryEnd(), List.of(keys), true), count));
        i += count;
      } else {
        int step = span.queryCount() > SHORT ? BLOCK : SHORT_BLOCK;
        for (int begin = span.queryBegin(); begin < span.queryEnd(); begin += step) {
          int end = Math.min(span.queryEnd(), begin + step);
          parts.add(new Part(new Span(begin, end, span.keysOf(end - 1), span.causal()), 0));
        }
        i++;
      }
    }
    return parts;
  }

  /**
   * A causal span over its own rows: libtorch's flash kernel aligns causality top-left, which is
   * the same only here.
   */
  private static boolean isSquare(Span span) {
    return span.causal() && span.keys().size() == 1 && span.keyCount() == span.queryCount();
  }

  /**
   * Returns how many spans from {@code first} on are square, of one length, and adjacent in queries
   * and keys.
   */
  private static int alike(List<Span> spans, int first) {
    int end = first + 1;
    while (end < spans.size()) {
      Span previous = spans.get(end - 1);
      Span next = spans.get(end);
      if (!isSquare(next)
          || next.queryCount() != previous.queryCount()
          || next.queryBegin() != previous.queryEnd()
          || next.keys().get(0).begin() != previous.keys().get(0).end()) {
        break;
      }
      end++;
    }
    return end - first;
  }

  /** Returns {@code [queries, heads, headDim]}. */
  private static Tensor attend(Tensor q, Tensor k, Tensor v, List<Part> parts) {
    List<KeyRange> keyRanges = parts.stream().flatMap(part -> part.span().keys().stream()).toList();
    Pieces queries = new Pieces(q, parts.stream().map(Part::queries).toList());
    Pieces keys = new Pieces(k, keyRanges);
    Pieces values = new Pieces(v, keyRanges);
    Tensor future = future(parts);
    TensorVector rows = new TensorVector();
    int covered = 0;
    for (Part part : parts) {
      addZeros(rows, part.span().queryBegin() - covered, q);
      try (TensorScope scope = new TensorScope()) {
        rows.push_back(
            part.sequences() > 0
                ? flash(queries, keys, values, part)
                : products(queries, keys, values, part.span(), future));
      }
      covered = part.span().queryEnd();
    }
    addZeros(rows, q.size(0) - covered, q);
    return rows.size() == 1 ? rows.get(0) : torch.cat(rows, 0);
  }

  private static void addZeros(TensorVector rows, long count, Tensor like) {
    if (count > 0) {
      rows.push_back(torch.zeros(new long[] {count, like.size(1), like.size(2)}, like.options()));
    }
  }

  /** Minus infinity above the diagonal, zero elsewhere, as large as the largest block wants it. */
  private static Tensor future(List<Part> parts) {
    long rows =
        parts.stream()
            .filter(part -> part.sequences() == 0 && part.span().causal())
            .mapToLong(part -> part.span().queryCount())
            .max()
            .orElse(0);
    return torch.full(new long[] {rows, rows}, new Scalar(Double.NEGATIVE_INFINITY)).triu_(1);
  }

  /** Libtorch's flash kernel over causal sequences of one length. */
  private static Tensor flash(Pieces q, Pieces k, Pieces v, Part part) {
    Span span = part.span();
    long length = span.queryCount() / part.sequences();
    long groups = q.heads() / k.heads();
    Tensor out =
        FLASH_ATTENTION.call(
            new IValue(q.sequences(part.queries(), part.sequences(), 1)),
            new IValue(k.sequences(span.keys().get(0), part.sequences(), groups)),
            new IValue(v.sequences(span.keys().get(0), part.sequences(), groups)),
            new IValue(0.0),
            new IValue(true),
            new IValue(),
            new IValue());
    Tensor found = out.size(2) == length ? out : out.narrow(2, 0, length);
    return found.transpose(1, 2).flatten(0, 1);
  }

  /**
   * Plain products: faster than libtorch's flash kernel for long sequences, and right for spans
   * whose queries are only the end of their keys.
   */
  private static Tensor products(Pieces q, Pieces k, Pieces v, Span span, Tensor future) {
    Tensor queries = q.rows(List.of(new KeyRange(span.queryBegin(), span.queryEnd())));
    Tensor keys = k.rows(span.keys());
    long heads = queries.size(0);
    long rows = queries.size(1);
    // Query heads that share a key head stand below each other.
    Tensor grouped = queries.reshape(keys.size(0), heads / keys.size(0) * rows, queries.size(2));
    // The scale rides along with the product: with a factor of zero nothing is added.
    Tensor scores =
        torch.baddbmm(
            torch.zeros(1, 1, 1),
            grouped,
            keys.transpose(1, 2),
            new Scalar(0.0),
            new Scalar(1 / Math.sqrt(queries.size(2))));
    if (span.causal() && rows > 1) {
      // Behind autograd's back: nothing needs the scores as they were, and those that become minus
      // infinity pass no gradient on.
      scores
          .detach()
          .view(heads, rows, span.keyCount())
          .narrow(2, span.keyCount() - rows, rows)
          .add_(future.narrow(0, 0, rows).narrow(1, 0, rows));
    }
    Tensor shares = gradients() ? torch.softmax(scores, 2) : torch.softmax_out(scores, scores, 2);
    return byHead(torch.bmm(shares, v.rows(span.keys())).view(queries.sizes()));
  }

  /** Views {@code [rows, heads, headDim]} as {@code [heads, rows, headDim]}, and back. */
  private static Tensor byHead(Tensor x) {
    return x.transpose(0, 1);
  }

  /**
   * Rows by head. For the backward pass they are cut at fixed places: the gradient of a piece is
   * then simply put in its place, while that of a view ({@code narrow}) is filled up with zeros.
   */
  private static final class Pieces {
    private final Tensor whole;
    private final List<Integer> begins;
    private final TensorVector pieces;

    /** Takes {@code [rows, heads, headDim]}, to be cut where ranges begin and end. */
    Pieces(Tensor rows, List<KeyRange> ranges) {
      whole = byHead(rows);
      TreeSet<Integer> cuts = new TreeSet<>(List.of(0, Math.toIntExact(whole.size(1))));
      ranges.forEach(range -> cuts.addAll(List.of(range.begin(), range.end())));
      begins = List.copyOf(cuts);
      long[] sizes = new long[begins.size() - 1];
      for (int i = 0; i < sizes.length; i++) {
        sizes[i] = begins.get(i + 1) - begins.get(i);
      }
      pieces = torch.split_with_sizes(whole, sizes, 1);
    }

    long heads() {
      return whole.size(0);
    }

    /** Returns rows one range after the other, {@code [heads, rows, headDim]}. */
    Tensor rows(List<KeyRange> ranges) {
      if (!gradients() && ranges.size() == 1) {
        return whole.narrow(1, ranges.get(0).begin(), ranges.get(0).length());
      }
      TensorVector found = new TensorVector();
      for (KeyRange range : ranges) {
        for (int i = begins.indexOf(range.begin()); begins.get(i) < range.end(); i++) {
          found.push_back(pieces.get(i));
        }
      }
      return found.size() == 1 ? found.get(0) : torch.cat(found, 1);
    }

    /**
     * Returns a range as sequences of one length, {@code [count, heads · groups, length, headDim]}.
     *
     * @param groups how many query heads read a head: each gets one of its own
     */
    Tensor sequences(KeyRange range, int count, long groups) {
      int length = range.length() / count;
      Tensor apart =
          whole.scalar_type().intern() == ScalarType.Float
              ? rows(List.of(range)).view(heads(), count, length, whole.size(2)).transpose(0, 1)
              : tiled(range, count, length);
      return groups == 1
          ? apart
          : apart
              .unsqueeze(2)
              .expand(count, heads(), groups, apart.size(2), whole.size(2))
              .flatten(1, 2);
    }

    /**
     * For half precision libtorch's flash kernel is compiled for every length and kept. Rows that
     * follow a sequence, whosever they are, can be computed along to round the length up: causality
     * hides them from the rows that count.
     */
    private Tensor tiled(KeyRange range, int count, int length) {
      int rows = IntMath.divide(length, TILE_ROWS, RoundingMode.CEILING) * TILE_ROWS;
      long end = range.end() - length + rows;
      Tensor enough =
          end <= whole.size(1)
              ? whole
              : torch.constant_pad_nd(whole, new long[] {0, 0, 0, end - whole.size(1)});
      return enough
          .narrow(1, range.begin(), end - range.begin())
          .unfold(1, rows, length)
          .permute(1, 0, 3, 2);
    }
  }
}
