package io.llara.kernels;

import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.Cpu;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * This project's own kernels, compiled to native code, for inference on CPU: each operation reads
 * its rows once and writes them once, and what is in between stays in registers. They equal {@link
 * LibtorchKernels} but for rounding; within an operation values are float32.
 *
 * <p>On a thread for which libtorch uses several, large operations are shared with the common pool.
 */
public final class FusedKernels implements Kernels {
  /** How many elements, or scores, are worth handing to another thread. */
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
   * @throws IllegalArgumentException if that property has an unknown value
   */
  public static Kernels orLibtorch() {
    boolean tiles = Cpu.multipliesTiles();
    return NativeKernels.load().isPresent() ? new FusedKernels(tiles) : new LibtorchKernels(tiles);
  }

  /**
   * Returns the instructions that these kernels use here, such as {@code avx2}; empty where {@link
   * #orLibtorch} gives others.
   */
  public static Optional<String> instructions() {
    return NativeKernels.load().map(NativeKernels.Level::toString);
  }

  @Override
  public Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
    try (TensorScope scope = new TensorScope()) {
      long width = x.size(1);
      Operand in = new Operand(x);
      Operand scale = in.matching(weight, width);
      Operand out = in.emptyLike();
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
  public Tensor rotary(Tensor x, Rotation rotation) {
    try (TensorScope scope = new TensorScope()) {
      long rows = x.size(0);
      long heads = x.size(1);
      long width = x.size(2);
      Operand in = new Operand(x);
      Operand cos = in.matching(rotation.cos(), rows * width);
      Operand sin = in.matching(rotation.sin(), rows * width);
      Operand out = in.emptyLike();
      share(
          rows,
          heads * width,
          (part, begin, end) ->
              NativeKernels.rotary(
                  in.type,
                  in.at(begin * heads * width),
                  cos.at(begin * width),
                  sin.at(begin * width),
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
      Operand open = new Operand(gate.apply(x));
      Operand other = open.matching(up.apply(x), open.count);
      share(
          open.count,
          1,
          (part, begin, end) ->
              NativeKernels.gate(open.type, open.at(begin), other.at(begin), end - begin));
      return scope.keep(open.tensor);
    }
  }

  @Override
  public Tensor attention(Tensor q, Tensor k, Tensor v, List<Span> spans) {
    if (suitsLibtorch(q)) {
      return libtorch.attention(q, k, v, spans);
    }
    try (TensorScope scope = new TensorScope()) {
      long rows = q.size(0);
      long heads = q.size(1);
      long kvHeads = k.size(1);
      long width = q.size(2);
      Operand queries = new Operand(q);
      Operand keys = queries.matching(k, k.size(0) * kvHeads * width);
      Operand values = queries.matching(v, keys.count);
      Operand out = queries.emptyLike();
      long encodedSpans = address(Tensors.ofInts(encode(spans, rows, k.size(0))));
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
                  encodedSpans,
                  spans.size(),
                  scratch + part * scratchBytes,
                  (float) (1 / Math.sqrt(width))));
      return scope.keep(out.tensor.flatten(1, 2));
    }
  }

  /**
   * Whether libtorch's attention is faster, or can do what this one cannot: where a matrix unit
   * multiplies bfloat16, and for heads of odd width.
   */
  private boolean suitsLibtorch(Tensor q) {
    return (tiles && q.scalar_type().intern() == ScalarType.BFloat16) || q.size(2) % 2 != 0;
  }

  /** Encodes spans for {@link NativeKernels#attention} and checks that they lie within the rows. */
  private static int[] encode(List<Span> spans, long queryRows, long keyRows) {
    IntStream.Builder encoded = IntStream.builder();
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
      encoded.add(span.queryBegin()).add(span.queryEnd()).add(span.causal() ? 1 : 0);
      encoded.add(span.keyCount()).add(keys.size());
      keys.forEach(range -> encoded.add(range.begin()).add(range.end()));
    }
    return encoded.build().toArray();
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
   * @param size how many elements a unit has
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

  /** An argument or result of a native kernel: a contiguous tensor of a type that it knows. */
  private static final class Operand {
    final Tensor tensor;
    final int type;
    final long count;
    private final long address;

    /**
     * Takes a tensor, or a contiguous copy of it in the innermost scope.
     *
     * @throws IllegalArgumentException if it is neither float32 nor bfloat16
     */
    Operand(Tensor tensor) {
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

    /** Takes another tensor, which must have this one's type and {@code count} elements. */
    Operand matching(Tensor other, long count) {
      Operand operand = new Operand(other);
      if (operand.type != type || operand.count != count) {
        throw new IllegalArgumentException(
            "expected %d elements of type %s, not %d of type %s"
                .formatted(
                    count,
                    tensor.scalar_type().intern(),
                    operand.count,
                    other.scalar_type().intern()));
      }
      return operand;
    }

    /** Makes a tensor of this shape and type for results. */
    Operand emptyLike() {
      return new Operand(torch.empty_like(tensor));
    }

    /** Returns the address of an element. */
    long at(long index) {
      return address + index * (type == NativeKernels.FLOAT32 ? Float.BYTES : Short.BYTES);
    }
  }
}
