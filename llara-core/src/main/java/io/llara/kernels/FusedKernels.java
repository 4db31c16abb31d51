package io.llara.kernels;

import io.llara.ComputeType;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.tensor.Cpu;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * This project's own kernels, compiled to native code, for CPU: each operation reads its rows once
 * and writes them once, and what is in between stays in registers. They equal {@link
 * LibtorchKernels} but for rounding; within an operation values are float32, but for {@linkplain
 * #orLibtorch(ComputeType) attention beside int8}.
 *
 * <p>In training their gradients, written by hand like they, come about on a {@link GradientTape}.
 * Results are the same to the bit whether they are recorded or not.
 *
 * <p>On a thread for which libtorch uses several, large operations are shared with {@link Helpers}.
 */
public final class FusedKernels implements Kernels {
  /** How many elements, or scores, are worth another thread. */
  private static final long WORTH_A_THREAD = 1 << 17;

  private final LibtorchKernels libtorch = new LibtorchKernels();
  private final boolean roundsAttention;

  private FusedKernels(boolean roundsAttention) {
    this.roundsAttention = roundsAttention;
  }

  /** Makes kernels that round nothing but their results. */
  public FusedKernels() {
    this(false);
  }

  /**
   * Returns the fastest kernels for inference on this machine: these, or libtorch's where these are
   * not compiled for it or the system property {@code io.llara.kernels} is {@code libtorch}.
   *
   * @throws IllegalArgumentException if that property has an unknown value
   */
  public static Kernels orLibtorch() {
    return orLibtorch(ComputeType.AUTO);
  }

  /**
   * As {@link #orLibtorch()}, for projections of a type: beside those of int8, which round their
   * rows, attention multiplies in bfloat16 where the processor does that natively.
   */
  public static Kernels orLibtorch(ComputeType type) {
    return NativeKernels.load().isPresent()
        ? new FusedKernels(type == ComputeType.INT8)
        : new LibtorchKernels(Cpu.multipliesTiles());
  }

  /**
   * Returns the fastest kernels that can be differentiated, on a {@link GradientTape}: these, or
   * libtorch's as in {@link #orLibtorch}.
   *
   * @throws IllegalArgumentException as {@link #orLibtorch}
   */
  public static Kernels forTraining() {
    return NativeKernels.load().isPresent() ? new FusedKernels() : new LibtorchKernels();
  }

  /**
   * Returns the instructions that these kernels use here, such as {@code avx2}; empty where {@link
   * #orLibtorch} gives others.
   */
  public static Optional<String> instructions() {
    return NativeKernels.load().map(NativeKernels.Level::toString);
  }

  /** Returns which of these kernels are not used here, higher ones than those that are, and why. */
  public static List<String> unused() {
    Optional<NativeKernels.Level> loaded = NativeKernels.load();
    return Arrays.stream(NativeKernels.Level.values())
        .takeWhile(level -> loaded.isEmpty() || level != loaded.get())
        .map(level -> "%s (%s)".formatted(level, NativeKernels.whyNot(level)))
        .toList();
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
      return scope.keep(
          GradientTape.cut(
              out.tensor,
              List.of(x, weight),
              (inputs, result, gradient) ->
                  FusedGradients.rmsNorm(inputs.get(0), inputs.get(1), gradient, eps)));
    }
  }

  @Override
  public Tensor rotary(Tensor x, Rotation rotation) {
    return rotary(x, rotation, false);
  }

  @Override
  public Tensor rotaryOver(Tensor x, Rotation rotation) {
    return rotary(x, rotation, !GradientTape.records(List.of(x)));
  }

  private Tensor rotary(Tensor x, Rotation rotation, boolean inPlace) {
    try (TensorScope scope = new TensorScope()) {
      long rows = x.size(0);
      long heads = x.size(1);
      long width = x.size(2);
      Operand in = new Operand(x);
      Operand cos = in.matching(rotation.cos(), rows * width);
      Operand sin = in.matching(rotation.sin(), rows * width);
      Operand out = inPlace ? in : in.emptyLike();
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
      return scope.keep(
          GradientTape.cut(
              out.tensor,
              List.of(x),
              // A rotation is orthogonal: back is the other way round.
              (inputs, result, gradient) -> List.of(rotary(gradient, rotation.inverse()))));
    }
  }

  @Override
  public Tensor feedForward(
      Tensor x, Projection gate, Projection up, Projection down, Tensor residual) {
    return NativeProjection.feedForward(x, gate, up, down, residual)
        .orElseGet(() -> Kernels.super.feedForward(x, gate, up, down, residual));
  }

  @Override
  public Tensor swiGlu(Tensor x, Projection gate, Projection up) {
    try (TensorScope scope = new TensorScope()) {
      List<Tensor> both = Projection.all(x, gate, up);
      Operand open = new Operand(both.get(0));
      Operand other = open.matching(both.get(1), open.count);
      List<Tensor> factors = List.of(open.tensor, other.tensor);
      // In its place where nothing needs it as it was.
      Operand out = GradientTape.records(factors) ? open.emptyLike() : open;
      share(
          open.count,
          1,
          (part, begin, end) ->
              NativeKernels.gate(
                  open.type, open.at(begin), other.at(begin), out.at(begin), end - begin));
      return scope.keep(
          GradientTape.cut(
              out.tensor,
              factors,
              (inputs, result, gradient) ->
                  FusedGradients.gate(inputs.get(0), inputs.get(1), gradient)));
    }
  }

  @Override
  public Tensor attention(Tensor q, Tensor k, Tensor v, List<Span> spans) {
    if (q.size(2) % 2 != 0) {
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
      long encodedSpans = encode(spans, rows, k.size(0));
      List<Tensor> inputs = List.of(q, k, v);
      Tensor normalisers =
          GradientTape.records(inputs) ? torch.empty(2, heads, rows) : torch.empty(0);
      long scores =
          spans.stream().mapToLong(span -> (long) span.queryCount() * span.keyCount()).sum();
      int type =
          roundsAttention && queries.type == NativeKernels.FLOAT32
              ? NativeKernels.ROUNDED_FLOAT32
              : queries.type;
      long scratchBytes = NativeKernels.attentionScratch(type, mostKeys(spans), width);
      long scratch = address(bytes(scratchBytes * Math.min(kvHeads, torch.get_num_threads())));
      share(
          kvHeads,
          scores * (heads / kvHeads),
          (part, begin, end) ->
              NativeKernels.attention(
                  type,
                  queries.at(0),
                  keys.at(0),
                  values.at(0),
                  out.at(0),
                  normalisers.numel() == 0 ? 0 : address(normalisers),
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
      // What is kept for the gradient is no input, but goes the same way.
      return scope.keep(
          GradientTape.cut(
              out.tensor.flatten(1, 2),
              List.of(q, k, v, normalisers),
              (kept, result, gradient) -> FusedGradients.attention(kept, result, gradient, spans)));
    }
  }

  /** Returns the most keys that a span has. */
  static long mostKeys(List<Span> spans) {
    return spans.stream().mapToLong(Span::keyCount).max().orElse(0);
  }

  /**
   * Encodes spans for {@link NativeKernels#attention}, checks that they lie within the rows, and
   * returns the address; the memory is the innermost scope's.
   */
  static long encode(List<Span> spans, long queryRows, long keyRows) {
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
    return address(Tensors.ofInts(encoded.build().toArray()));
  }

  /** Returns memory of the innermost scope. */
  static Tensor bytes(long count) {
    return torch.empty(new long[] {count}, new TensorOptions(ScalarType.Byte), null);
  }

  static long address(Tensor tensor) {
    return tensor.data_ptr().address();
  }

  /**
   * Shares {@code units} of work among as many threads as libtorch uses for this one, at most.
   *
   * @param size how many elements a unit has
   */
  static void share(long units, long size, Helpers.Part work) {
    long worth = units * size / WORTH_A_THREAD;
    Helpers.share(
        units,
        worth < 2 ? 1 : (int) Math.min(Math.min(worth, units), torch.get_num_threads()),
        work);
  }
}
