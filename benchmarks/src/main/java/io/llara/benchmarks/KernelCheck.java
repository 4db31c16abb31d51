package io.llara.benchmarks;

import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.kernels.Accelerator;
import io.llara.kernels.FusedKernels;
import io.llara.kernels.Kernels;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.prompt.PromptBuilder;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A device's kernels against their equations in float64, on the values that the type holds, at
 * sizes that no kernel is made for. A difference is relative to values beyond 1.
 */
final class KernelCheck {
  private static final double EPS = 1e-5;

  /** What rounding the result to the type costs at most, and sums of some hundred products. */
  private static final Map<ScalarType, Double> LIMITS =
      Map.of(ScalarType.Float, 1e-4, ScalarType.BFloat16, 0.04);

  /** What a block computes is what it is given. */
  private static final Projection SAME =
      new Projection() {
        @Override
        public Tensor apply(Tensor x) {
          return x.clone();
        }

        @Override
        public void close() {}
      };

  private final Optional<Accelerator> device;
  private final CheckTable table;
  private final Kernels kernels;
  private final SplittableRandom random = new SplittableRandom(3);

  KernelCheck(Optional<Accelerator> device, CheckTable table) {
    this.device = device;
    this.table = table;
    this.kernels = device.map(Accelerator::kernels).orElseGet(FusedKernels::orLibtorch);
  }

  /** Adds a row for each kernel and type. */
  void run() {
    for (ScalarType type : List.of(ScalarType.Float, ScalarType.BFloat16)) {
      Map<String, Double> worst = new TreeMap<>();
      if (device.isPresent()) {
        try (Accelerator.Lane lane = device.get().openLane()) {
          run(type, worst);
        }
      } else {
        run(type, worst);
      }
      worst.forEach(
          (kernel, difference) ->
              table.atMost(
                  "%s in %s against float64".formatted(kernel, type),
                  difference,
                  LIMITS.get(type)));
    }
  }

  private void run(ScalarType type, Map<String, Double> worst) {
    for (int rows : new int[] {1, 7, 129}) {
      for (int width : new int[] {2, 66, 769, 4096}) {
        try (TensorScope scope = new TensorScope()) {
          norms(type, rows, width, worst);
        }
      }
      for (int dim : new int[] {2, 34, 64, 128}) {
        try (TensorScope scope = new TensorScope()) {
          rotary(type, rows, dim, worst);
        }
      }
      try (TensorScope scope = new TensorScope()) {
        gate(type, rows, worst);
      }
    }
    for (int[] heads : new int[][] {{1, 1}, {4, 4}, {6, 2}, {3, 1}}) {
      for (int dim : new int[] {16, 64, 128}) {
        try (TensorScope scope = new TensorScope()) {
          attention(type, heads[0], heads[1], dim, worst);
        }
      }
    }
  }

  private void norms(ScalarType type, int rows, int width, Map<String, Double> worst) {
    Tensor x = values(type, rows, width);
    Tensor residual = values(type, rows, width);
    Tensor weight = values(type, width);
    float[] in = Tensors.toFloats(x);
    float[] other = Tensors.toFloats(residual);
    float[] scale = Tensors.toFloats(weight);
    double[] plain = doubles(in);
    note(worst, "RMSNorm", kernels.rmsNorm(x, weight, EPS), norm(plain, scale));
    Kernels.NormedSum sum = kernels.addRmsNorm(SAME, x, residual, weight, EPS);
    double[] expected = new double[in.length];
    for (int i = 0; i < expected.length; i++) {
      expected[i] = in[i] + other[i];
    }
    note(worst, "residual sum", sum.sum(), expected);
    note(worst, "residual and RMSNorm", sum.normed(), norm(expected, scale));
  }

  private static double[] norm(double[] x, float[] weight) {
    int width = weight.length;
    double[] out = new double[x.length];
    for (int row = 0; row < x.length; row += width) {
      double squares = 0;
      for (int i = 0; i < width; i++) {
        squares += x[row + i] * x[row + i];
      }
      for (int i = 0; i < width; i++) {
        out[row + i] = x[row + i] / Math.sqrt(squares / width + EPS) * weight[i];
      }
    }
    return out;
  }

  private void rotary(ScalarType type, int rows, int dim, Map<String, Double> worst) {
    int heads = 3;
    int half = dim / 2;
    float[] cos = new float[rows * dim];
    float[] sin = new float[rows * dim];
    for (int i = 0; i < cos.length; i++) {
      double angle = i / dim * 3.7 / (i % half + 1);
      cos[i] = (float) Math.cos(angle);
      sin[i] = (float) Math.sin(i % dim < half ? -angle : angle);
    }
    Tensor cosines = on(Tensors.ofFloats(cos, rows, 1, dim), type);
    Tensor sines = on(Tensors.ofFloats(sin, rows, 1, dim), type);
    float[] c = Tensors.toFloats(cosines);
    float[] s = Tensors.toFloats(sines);
    Tensor x = values(type, rows, heads, dim);
    float[] in = Tensors.toFloats(x);
    double[] expected = new double[in.length];
    for (int i = 0; i < in.length; i++) {
      int at = i / (heads * dim) * dim + i % dim;
      int pair = i % dim < half ? i + half : i - half;
      expected[i] = (double) in[i] * c[at] + (double) in[pair] * s[at];
    }
    Kernels.Rotation rotation = new Kernels.Rotation(cosines, sines);
    note(worst, "rotary embedding", kernels.rotary(x, rotation), expected);
    note(worst, "rotary embedding in place", kernels.rotaryOver(x, rotation), expected);
  }

  private void gate(ScalarType type, int rows, Map<String, Double> worst) {
    int width = 30;
    int inner = 71;
    Tensor x = values(type, rows, width);
    Tensor gate = values(type, inner, width);
    Tensor up = values(type, inner, width);
    float[] in = Tensors.toFloats(x);
    float[] opening = Tensors.toFloats(gate);
    float[] rising = Tensors.toFloats(up);
    double[] expected = new double[rows * inner];
    for (int i = 0; i < expected.length; i++) {
      // What a projection gives is rounded to the type before the gate sees it.
      double g = rounded(dot(in, i / inner, opening, i % inner, width), type);
      double u = rounded(dot(in, i / inner, rising, i % inner, width), type);
      expected[i] = g / (1 + Math.exp(-g)) * u;
    }
    Projection gates = new PlainProjection(gate, null);
    Projection ups = new PlainProjection(up, null);
    note(worst, "SwiGLU", kernels.swiGlu(x, gates, ups), expected);
  }

  private static double rounded(double value, ScalarType type) {
    try (TensorScope scope = new TensorScope()) {
      return type == ScalarType.Float
          ? value
          : Tensors.toFloats(Tensors.ofFloats(new float[] {(float) value}, 1).to(type))[0];
    }
  }

  private static double dot(float[] a, int row, float[] b, int other, int width) {
    double sum = 0;
    for (int i = 0; i < width; i++) {
      sum += (double) a[row * width + i] * b[other * width + i];
    }
    return sum;
  }

  private void attention(
      ScalarType type, int heads, int kvHeads, int dim, Map<String, Double> worst) {
    int[] suffix = {2, 3, 4};
    PromptBuilder builder = PromptBuilder.ofIds(new int[] {1}, suffix, new int[] {5, 6}, 2);
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(
                builder.fromIds(ids(1), Mode.SELF),
                builder.jointFromIds(ids(37)),
                builder.fromIds(ids(200), Mode.NEXT),
                builder.jointFromIds(ids(5))),
            Layout.packed());
    boolean[][] visible = mask.dense();
    Tensor q = values(type, visible.length, heads, dim);
    Tensor k = values(type, visible.length, kvHeads, dim);
    Tensor v = values(type, visible.length, kvHeads, dim);
    float[] queries = Tensors.toFloats(q);
    float[] keys = Tensors.toFloats(k);
    float[] rows = Tensors.toFloats(v);
    double[] expected = new double[queries.length];
    for (int row = 0; row < visible.length; row++) {
      for (int head = 0; head < heads; head++) {
        int to = (row * heads + head) * dim;
        double sum = 0;
        for (int key = 0; key < visible.length; key++) {
          if (visible[row][key]) {
            int from = (key * kvHeads + head * kvHeads / heads) * dim;
            double share = Math.exp(dot(queries, to / dim, keys, from / dim, dim) / Math.sqrt(dim));
            sum += share;
            for (int i = 0; i < dim; i++) {
              expected[to + i] += share * rows[from + i];
            }
          }
        }
        for (int i = 0; i < dim; i++) {
          expected[to + i] /= sum;
        }
      }
    }
    note(
        worst,
        "attention of packed and joint prompts",
        kernels.attention(mask.spans()).apply(q, k, v),
        expected);
  }

  private static int[] ids(int count) {
    return IntStream.range(10, 10 + count).toArray();
  }

  private Tensor values(ScalarType type, long... shape) {
    float[] values = new float[(int) Arrays.stream(shape).reduce(1, Math::multiplyExact)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (random.nextDouble() * 2 - 1);
    }
    return on(Tensors.ofFloats(values, shape), type);
  }

  private Tensor on(Tensor host, ScalarType type) {
    return device
        .map(accelerator -> TensorScope.adopt(accelerator.upload(host, type)))
        .orElseGet(() -> host.to(type));
  }

  private static double[] doubles(float[] values) {
    return IntStream.range(0, values.length).mapToDouble(i -> values[i]).toArray();
  }

  private static void note(
      Map<String, Double> worst, String kernel, Tensor actual, double[] expected) {
    float[] values = Tensors.toFloats(actual);
    if (values.length != expected.length) {
      throw new IllegalStateException(
          "%s gave %d values; expected %d".formatted(kernel, values.length, expected.length));
    }
    double difference = 0;
    for (int i = 0; i < values.length; i++) {
      double one = Math.abs(values[i] - expected[i]) / Math.max(1, Math.abs(expected[i]));
      difference = Double.isNaN(one) ? Double.POSITIVE_INFINITY : Math.max(difference, one);
    }
    worst.merge(kernel, difference, Math::max);
  }
}
