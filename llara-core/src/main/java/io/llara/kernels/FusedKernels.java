package io.llara.kernels;

import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.Cpu;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Kernels of this project's own, compiled to native code, for inference on CPU: each operation
 * reads its rows once and writes them once, and what is in between stays in registers. They equal
 * {@link LibtorchKernels} but for rounding; within an operation numbers are float32.
 *
 * <p>On a thread for which libtorch uses several, large operations are shared with the common pool.
 */
public final class FusedKernels implements Kernels {
  /** So many numbers, or scores, are worth being handed to another thread. */
  private static final long WORTH_A_PART = 1 << 17;

  private final LibtorchKernels libtorch;
  private final boolean tiles;

  /**
   * Makes kernels for a processor with or without a matrix unit, whatever this one has.
   *
   * @param tiles whether libtorch multiplies bfloat16 tile by tile
   */
  FusedKernels(boolean tiles) {
    this.libtorch = new LibtorchKernels(tiles);
    this.tiles = tiles;
  }

  /**
   * Returns the fastest kernels for inference on this machine: these, or libtorch's where these are
   * not compiled for it or the system property {@code io.llara.kernels} is {@code libtorch}.
   *
   * @throws IllegalArgumentException if that property has a value that means nothing
   */
  public static Kernels orLibtorch() {
    return NativeKernels.load().isPresent()
        ? new FusedKernels(Cpu.multipliesTiles())
        : new LibtorchKernels();
  }

  /**
   * Returns the instructions that these kernels use here, such as {@code avx2}; empty where {@link
   * #orLibtorch} gives others.
   */
  public static Optional<String> instructions() {
    return NativeKernels.load().map(NativeKernels.Level::toString);
  }

  @Override
  public boolean differentiable() {
    return false;
  }

  @Override
  public int paddedRows(int rows) {
    return libtorch.paddedRows(rows); // For the sake of the projections, which are libtorch's.
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
    try (TensorScope scope = new TensorScope()) {
      long width = x.size(1);
      Numbers in = new Numbers(x);
      Numbers scale = in.alike(weight, width);
      Numbers out = in.another();
      share(
          x.size(0),
          width,
          (part, begin, end) ->
              NativeKernels.rmsNorm(
                  in.type,
                  in.at(begin * width),
                  scale.at(0),
                  out.at(begin * width),
                  end - begin,
                  width,
                  (float) eps));
      return scope.keep(out.tensor);
    }
  }

  @Override
  public Tensor rotary(Tensor x, Rotation table) {
    try (TensorScope scope = new TensorScope()) {
      long rows = x.size(0);
      long heads = x.size(1);
      long width = x.size(2);
      Numbers in = new Numbers(x);
      Numbers cos = in.alike(table.cos(), rows * width);
      Numbers sin = in.alike(table.sin(), rows * (width / 2));
      Numbers out = in.another();
      share(
          rows,
          heads * width,
          (part, begin, end) ->
              NativeKernels.rotary(
                  in.type,
                  in.at(begin * heads * width),
                  cos.at(begin * width),
                  sin.at(begin * (width / 2)),
                  out.at(begin * heads * width),
                  end - begin,
                  heads,
                  width));
      return scope.keep(out.tensor);
    }
  }

  @Override
  public Tensor swiGlu(Tensor x, Projection gate, Projection up) {
    try (TensorScope scope = new TensorScope()) {
      Numbers open = new Numbers(gate.apply(x));
      Numbers other = open.alike(up.apply(x), open.count);
      share(
          open.count,
          1,
          (part, begin, end) ->
              NativeKernels.gate(open.type, open.at(begin), other.at(begin), end - begin));
      return scope.keep(open.tensor);
    }
  }

  @Override
  public Tensor attention(Tensor q, Tensor k, Tensor v, AttentionMask mask) {
    if (suitsLibtorch(q)) {
      return libtorch.attention(q, k, v, mask);
    }
    try (TensorScope scope = new TensorScope()) {
      long rows = q.size(0);
      long heads = q.size(1);
      long kvHeads = k.size(1);
      long width = q.size(2);
      List<Span> spans = mask.spans();
      Numbers queries = new Numbers(q);
      Numbers keys = queries.alike(k, k.size(0) * kvHeads * width);
      Numbers values = queries.alike(v, keys.count);
      Numbers out = queries.another();
      long spanNumbers = address(Tensors.ofInts(numbers(spans, rows, k.size(0))));
      long longest = spans.stream().mapToLong(Span::keyCount).max().orElse(0);
      long scores =
          spans.stream().mapToLong(span -> (long) span.queryCount() * span.keyCount()).sum();
      long scratchBytes = NativeKernels.attentionScratch(queries.type, longest, width);
      long scratch = address(bytes(scratchBytes * Math.min(kvHeads, torch.get_num_threads())));
      share(
          kvHeads,
          scores * (heads / kvHeads),
          (part, begin, end) ->
              NativeKernels.attention(
                  queries.type,
                  queries.at(0),
                  keys.at(0),
                  values.at(0),
                  out.at(0),
                  rows,
                  heads,
                  kvHeads,
                  begin,
                  end,
                  width,
                  spanNumbers,
                  spans.size(),
                  scratch + part * scratchBytes,
                  (float) (1 / Math.sqrt(width))));
      return scope.keep(out.tensor.flatten(1, 2));
    }
  }

  /**
   * Whether libtorch's attention is faster, or can do what this one cannot: where a matrix unit
   * multiplies bfloat16, and for heads whose numbers do not come in pairs.
   */
  private boolean suitsLibtorch(Tensor q) {
    return (tiles && q.scalar_type().intern() == ScalarType.BFloat16) || q.size(2) % 2 != 0;
  }

  /** The spans as {@link NativeKernels#attention} wants them, checked to lie within the rows. */
  private static int[] numbers(List<Span> spans, long queryRows, long keyRows) {
    List<Integer> numbers = new ArrayList<>();
    int covered = 0;
    for (Span span : spans) {
      List<KeyRange> keys = span.keys();
      if (span.queryBegin() < covered
          || span.queryEnd() > queryRows
          || keys.get(keys.size() - 1).end() > keyRows) {
        throw new IllegalArgumentException(
            "%s overlaps the one before it or exceeds %d query rows and %d key rows"
                .formatted(span, queryRows, keyRows));
      }
      covered = span.queryEnd();
      numbers.add(span.queryBegin());
      numbers.add(span.queryEnd());
      numbers.add(span.causal() ? 1 : 0);
      numbers.add(span.keyCount());
      numbers.add(keys.size());
      for (KeyRange range : keys) {
        numbers.add(range.begin());
        numbers.add(range.end());
      }
    }
    return numbers.stream().mapToInt(Integer::intValue).toArray();
  }

  private static Tensor bytes(long count) {
    return torch.empty(new long[] {count}, new TensorOptions(ScalarType.Byte), null);
  }

  private static long address(Tensor tensor) {
    return tensor.data_ptr().address();
  }

  /**
   * A part of the work; parts may run at once. Makes no native objects: its thread has no scope.
   */
  private interface Part {
    void run(int part, long begin, long end);
  }

  /**
   * Shares {@code units} of work among as many threads as libtorch uses for this one, at most.
   *
   * @param size how many numbers a unit has
   */
  private static void share(long units, long size, Part work) {
    long worth = units * size / WORTH_A_PART;
    int parts = worth < 2 ? 1 : (int) Math.min(Math.min(worth, units), torch.get_num_threads());
    if (parts == 1) {
      work.run(0, 0, units);
    } else {
      IntStream.range(0, parts)
          .parallel()
          .forEach(part -> work.run(part, units * part / parts, units * (part + 1) / parts));
    }
  }

  /** A tensor whose numbers lie one after the other, of a type that the kernels know. */
  private static final class Numbers {
    final Tensor tensor;
    final int type;
    final long count;
    private final long address;

    /**
     * Takes a tensor, or a contiguous copy of it in the innermost scope.
     *
     * @throws IllegalArgumentException if it is neither float32 nor bfloat16
     */
    Numbers(Tensor tensor) {
      this.tensor = tensor.is_contiguous() ? tensor : tensor.contiguous();
      ScalarType scalarType = tensor.scalar_type().intern();
      this.type =
          switch (scalarType) {
            case Float -> NativeKernels.FLOAT32;
            case BFloat16 -> NativeKernels.BFLOAT16;
            default ->
                throw new IllegalArgumentException(
                    "expected float32 or bfloat16, not " + scalarType);
          };
      this.count = tensor.numel();
      this.address = FusedKernels.address(this.tensor);
    }

    /**
     * Takes another tensor, which has to be of this one's type.
     *
     * @param count how many numbers it has to have
     */
    Numbers alike(Tensor other, long count) {
      Numbers numbers = new Numbers(other);
      if (numbers.type != type || numbers.count != count) {
        throw new IllegalArgumentException(
            "expected %d numbers of type %s, not %d of type %s"
                .formatted(
                    count,
                    tensor.scalar_type().intern(),
                    numbers.count,
                    other.scalar_type().intern()));
      }
      return numbers;
    }

    /** Makes a tensor of this shape and type for results. */
    Numbers another() {
      return new Numbers(torch.empty_like(tensor));
    }

    /** The address of a number. */
    long at(long index) {
      return address + index * (type == NativeKernels.FLOAT32 ? Float.BYTES : Short.BYTES);
    }
  }
}
