package io.llara.kernels;

import static io.llara.kernels.KernelsContract.rotation;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMask.Span;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.kernels.KernelsContract.Type;
import io.llara.prompt.Prompt;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Leaks;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What kernels for training have to do: their gradients against the equations written with autograd
 * in float64 over dense masks, and against differences of results.
 */
abstract class KernelsGradientContract {
  final Kernels kernels = kernels();
  private final RandomTensors random = new RandomTensors();
  private TensorScope scope;

  @BeforeEach
  void open() {
    Libtorch.load();
    scope = new TensorScope();
    GradMode.set_enabled(true);
  }

  @AfterEach
  void close() {
    scope.close();
  }

  /** Returns the kernels to test. */
  abstract Kernels kernels();

  /** Gradients sum more products than results, and their parts are rounded to bfloat16 too. */
  static double tolerance(Type type) {
    return type == Type.FLOAT32 ? 2e-5 : 0.06;
  }

  final Tensor random(ScalarType type, double spread, long... shape) {
    return random.next(type, spread, shape);
  }

  /** A projection by a weight that stays its maker's. */
  static Projection by(Tensor weight) {
    return new Projection() {
      @Override
      public Tensor apply(Tensor x) {
        return torch.linear(x, weight);
      }

      @Override
      public void close() {}
    };
  }

  static Stream<Arguments> masksAndHeads() {
    return AttentionBatches.withHeads(new int[][] {{1, 1}, {4, 4}, {4, 2}, {3, 1}});
  }

  @ParameterizedTest(name = "{index}: {1} heads on {2}, {3}")
  @MethodSource("masksAndHeads")
  void attentionAndItsGradientsEqualTheDenseFormula(
      List<Prompt> batch, int heads, int kvHeads, Type type) {
    for (Layout layout : List.of(Layout.packed(), Layout.leftPadded(8), Layout.rightPadded(4))) {
      AttentionMask mask = AttentionMaskFactory.create(batch, layout);
      checkAttention(mask.spans(), mask.dense(), heads, kvHeads, type);
      boolean[][] visible = mask.dense();
      int[] rows = AttentionBatches.pooledRows(mask);
      boolean[][] some =
          Arrays.stream(rows).mapToObj(row -> visible[row]).toArray(boolean[][]::new);
      if (rows.length > 0) {
        checkAttention(mask.spans(rows), some, heads, kvHeads, type);
      }
    }
  }

  private void checkAttention(
      List<Span> spans, boolean[][] visible, int heads, int kvHeads, Type type) {
    checkAttention(spans, visible, 0, heads, kvHeads, type);
    checkAttention(spans, visible, 5, heads, kvHeads, type);
  }

  /** With {@code padding} rows more than the mask knows. */
  private void checkAttention(
      List<Span> spans, boolean[][] visible, int padding, int heads, int kvHeads, Type type) {
    checkAttention(spans, visible, padding, new int[] {heads, kvHeads, 16}, type);
  }

  private void checkAttention(
      List<Span> spans, boolean[][] visible, int padding, int[] shape, Type type) {
    try (TensorScope inner = new TensorScope()) {
      int heads = shape[0];
      int kvHeads = shape[1];
      int dim = shape[2];
      Tensor q = leaf(random(type.torch, 1, visible.length + padding, heads, dim));
      Tensor k = leaf(random(type.torch, 1, visible[0].length + padding, kvHeads, dim));
      Tensor v = leaf(random(type.torch, 1, visible[0].length + padding, kvHeads, dim));
      Tensor gradient = random(type.torch, 1, q.size(0), (long) heads * dim);

      Differentiated actual =
          differentiate(() -> kernels.attention(q, k, v, spans), gradient, List.of(q, k, v));

      List<Tensor> doubles = Stream.of(q, k, v).map(KernelsGradientContract::doubles).toList();
      Differentiated expected =
          differentiate(
              () -> dense(doubles.get(0), doubles.get(1), doubles.get(2), visible),
              gradient.to(ScalarType.Double),
              doubles);
      assertClose(actual.result, expected.result, tolerance(type));
      for (int i = 0; i < 3; i++) {
        assertClose(actual.gradients.get(i), expected.gradients.get(i), 2 * tolerance(type));
      }
    }
  }

  /** Tiles of every height, registers of every filling. */
  @ParameterizedTest
  @EnumSource
  void attentionTakesHeadsOfAnyWidthAndPromptsOfAnyLength(Type type) {
    for (int dim : new int[] {2, 6, 34, 64, 128}) {
      for (int length : new int[] {1, 5, 6, 7, 15, 16, 17, 31, 33, 64, 65, 127}) {
        AttentionMask mask =
            AttentionMaskFactory.create(
                List.of(AttentionBatches.joint(length), AttentionBatches.plain(length)),
                Layout.packed());
        checkAttention(mask.spans(), mask.dense(), 1, new int[] {2, 1, dim}, type);
      }
    }
  }

  /** Rows that see nothing are zero and pass nothing on. */
  private static Tensor dense(Tensor q, Tensor k, Tensor v, boolean[][] visible) {
    int queries = (int) q.size(0);
    int keys = (int) k.size(0);
    float[] added = new float[queries * keys];
    float[] real = new float[queries];
    Arrays.fill(added, -1e30f);
    for (int row = 0; row < visible.length; row++) {
      for (int key = 0; key < visible[row].length; key++) {
        if (visible[row][key]) {
          added[row * keys + key] = 0;
          real[row] = 1;
        }
      }
    }
    long groups = q.size(1) / k.size(1);
    Tensor scores =
        torch.bmm(
            q.transpose(0, 1),
            k.repeat_interleave(
                    groups,
                    new org.bytedeco.pytorch.LongOptional(1),
                    new org.bytedeco.pytorch.LongOptional())
                .permute(1, 2, 0));
    Tensor shares =
        torch.softmax(
            scores
                .mul(new Scalar(1 / Math.sqrt(q.size(2))))
                .add(Tensors.ofFloats(added, 1, queries, keys)),
            2);
    return torch
        .bmm(
            shares,
            v.repeat_interleave(
                    groups,
                    new org.bytedeco.pytorch.LongOptional(1),
                    new org.bytedeco.pytorch.LongOptional())
                .transpose(0, 1))
        .transpose(0, 1)
        .flatten(1, 2)
        .mul(Tensors.ofFloats(real, queries, 1));
  }

  static Tensor leaf(Tensor x) {
    return x.detach().requires_grad_(true);
  }

  private static Tensor doubles(Tensor x) {
    return leaf(x.detach().to(ScalarType.Double));
  }

  /** A result and the gradients by its inputs. */
  record Differentiated(Tensor result, TensorVector gradients) {}

  static Differentiated differentiate(
      Supplier<Tensor> function, Tensor gradient, List<Tensor> inputs) {
    try (GradientTape tape = new GradientTape()) {
      Tensor result = tape.record(function);
      return new Differentiated(
          result,
          tape.differentiate(result, gradient, new TensorVector(inputs.toArray(Tensor[]::new))));
    }
  }

  @ParameterizedTest
  @EnumSource
  void theNormsGradientsEqualTheFormulas(Type type) {
    for (int width : new int[] {1, 7, 40, 64, 769}) {
      Tensor x = leaf(random(type.torch, 2, 6, width));
      Tensor weight = leaf(random(type.torch, 1, width));
      Tensor gradient = random(type.torch, 1, 6, width);
      checkGradients(
          () -> kernels.rmsNorm(x, weight, 1e-5),
          in ->
              in.get(0)
                  .div(
                      in.get(0)
                          .square()
                          .mean(new long[] {1}, true, null)
                          .add(new Scalar(1e-5))
                          .sqrt())
                  .mul(in.get(1)),
          List.of(x, weight),
          gradient,
          type);
    }
  }

  @ParameterizedTest
  @EnumSource
  void theGatesGradientsEqualTheFormulas(Type type) {
    for (int width : new int[] {1, 7, 40, 129}) {
      Tensor open = leaf(random(type.torch, 3, 5, width));
      Tensor up = leaf(random(type.torch, 1, 5, width));
      // What the projections give, whatever they are applied to.
      checkGradients(
          () -> kernels.swiGlu(open, giving(open), giving(up)),
          in -> torch.silu(in.get(0)).mul(in.get(1)),
          List.of(open, up),
          random(type.torch, 1, 5, width),
          type);
    }
  }

  /** What is given must not be written over: it is a copy that autograd knows of. */
  private static Projection giving(Tensor result) {
    return new Projection() {
      @Override
      public Tensor apply(Tensor x) {
        return result.clone();
      }

      @Override
      public void close() {}
    };
  }

  @ParameterizedTest
  @EnumSource
  void theRotationsGradientIsTheRotationBack(Type type) {
    for (int dim : new int[] {2, 6, 64}) {
      Kernels.Rotation table = rotation(type, 7, dim);
      Tensor cos = table.cos().to(ScalarType.Double);
      Tensor sin = table.sin().to(ScalarType.Double);
      Tensor x = leaf(random(type.torch, 1, 7, 3, dim));
      checkGradients(
          () -> kernels.rotary(x, table),
          in ->
              in.get(0)
                  .mul(cos)
                  .add(torch.roll(in.get(0), new long[] {dim / 2}, new long[] {2}).mul(sin)),
          List.of(x),
          random(type.torch, 1, 7, 3, dim),
          type);
    }
  }

  private static void checkGradients(
      Supplier<Tensor> kernel,
      Function<List<Tensor>, Tensor> formula,
      List<Tensor> inputs,
      Tensor gradient,
      Type type) {
    List<Tensor> doubles = inputs.stream().map(KernelsGradientContract::doubles).toList();
    Differentiated actual = differentiate(kernel, gradient, inputs);
    Differentiated expected =
        differentiate(() -> formula.apply(doubles), gradient.to(ScalarType.Double), doubles);
    assertClose(actual.result, expected.result, tolerance(type));
    for (int i = 0; i < inputs.size(); i++) {
      assertThat(actual.gradients.get(i).scalar_type().intern()).isEqualTo(type.torch);
      assertClose(actual.gradients.get(i), expected.gradients.get(i), tolerance(type));
    }
  }

  @ParameterizedTest
  @EnumSource
  void resultsAreTheSameToTheBitInEitherGradientMode(Type type) {
    Tensor x = leaf(random(type.torch, 1, 9, 12));
    Tensor weight = leaf(random(type.torch, 1, 12));
    Projection gate = by(random(type.torch, 0.3, 21, 12));
    Projection up = by(random(type.torch, 0.3, 21, 12));
    same(() -> kernels.rmsNorm(x, weight, 1e-5));
    same(() -> kernels.swiGlu(x, gate, up));
    Kernels.Rotation table = rotation(type, 9, 4);
    same(() -> kernels.rotary(x.view(9, 3, 4), table));
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(
                AttentionBatches.plain(40),
                AttentionBatches.plain(40),
                AttentionBatches.joint(300),
                AttentionBatches.plain(200)),
            Layout.leftPadded(8));
    Tensor q = leaf(random(type.torch, 1, mask.rows(), 4, 8));
    Tensor k = leaf(random(type.torch, 1, mask.rows(), 2, 8));
    Tensor v = leaf(random(type.torch, 1, mask.rows(), 2, 8));
    same(() -> kernels.attention(q, k, v, mask.spans()));
  }

  private static void same(Supplier<Tensor> function) {
    try (GradientTape tape = new GradientTape()) {
      Tensor with = tape.record(function);
      assertThat(with.requires_grad()).isTrue();
      GradMode.set_enabled(false);
      Tensor without = function.get();
      GradMode.set_enabled(true);
      assertThat(Tensors.toFloats(without)).isEqualTo(Tensors.toFloats(with.detach()));
    }
  }

  @Test
  void gradientsEqualDifferencesOfResults() {
    Tensor gate = random(ScalarType.Float, 0.3, 14, 12);
    Tensor up = random(ScalarType.Float, 0.3, 14, 12);
    Tensor weight = random(ScalarType.Float, 1, 12);
    Kernels.Rotation table = rotation(Type.FLOAT32, 4, 6);
    Tensor x = random(ScalarType.Float, 1, 4, 12);
    differences(x, in -> kernels.rmsNorm(in, weight, 1e-5));
    differences(weight, in -> kernels.rmsNorm(x, in, 1e-5));
    differences(x, in -> kernels.rotary(in.view(4, 2, 6), table));
    differences(x, in -> kernels.swiGlu(in, by(gate), by(up)));
    differences(gate, in -> kernels.swiGlu(x, by(in), by(up)));
    differences(up, in -> kernels.swiGlu(x, by(gate), by(in)));
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(AttentionBatches.joint(2), AttentionBatches.plain(3)), Layout.packed());
    int rows = mask.rows();
    Tensor q = random(ScalarType.Float, 1, rows, 2, 4);
    Tensor k = random(ScalarType.Float, 1, rows, 1, 4);
    Tensor v = random(ScalarType.Float, 1, rows, 1, 4);
    differences(q, in -> kernels.attention(in, k, v, mask.spans()));
    differences(k, in -> kernels.attention(q, in, v, mask.spans()));
    differences(v, in -> kernels.attention(q, k, in, mask.spans()));
  }

  /** The derivative of a weighted sum of all results by each element, from both sides. */
  private void differences(Tensor at, Function<Tensor, Tensor> function) {
    try (TensorScope inner = new TensorScope()) {
      Tensor leaf = leaf(at);
      GradMode.set_enabled(false);
      Tensor result = function.apply(at);
      GradMode.set_enabled(true);
      Tensor weights = random(ScalarType.Float, 1, result.numel()).view(result.sizes());
      float[] gradient =
          Tensors.toFloats(
              differentiate(() -> function.apply(leaf), weights, List.of(leaf)).gradients.get(0));
      float[] values = Tensors.toFloats(at);
      float[] factors = Tensors.toFloats(weights);
      float step = 1e-2f;
      GradMode.set_enabled(false);
      for (int i = 0; i < values.length; i++) {
        double difference =
            (weighted(function, at, i, step, factors) - weighted(function, at, i, -step, factors))
                / (2 * step);
        assertThat((double) gradient[i])
            .as("element %d", i)
            .isCloseTo(difference, within(3e-3 * Math.max(1, Math.abs(difference))));
      }
      GradMode.set_enabled(true);
    }
  }

  private static double weighted(
      Function<Tensor, Tensor> function, Tensor at, int index, float step, float[] factors) {
    try (TensorScope inner = new TensorScope()) {
      Tensor moved = at.detach().clone();
      moved.view(-1).narrow(0, index, 1).add_(new Scalar(step));
      float[] results = Tensors.toFloats(function.apply(moved));
      double sum = 0;
      for (int i = 0; i < results.length; i++) {
        sum += (double) results[i] * factors[i];
      }
      return sum;
    }
  }

  @Test
  void argumentsAreLeftAsTheyAre() {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(AttentionBatches.joint(9), AttentionBatches.plain(130)), Layout.packed());
    Tensor q = leaf(random(ScalarType.Float, 1, mask.rows(), 2, 8));
    Tensor x = leaf(random(ScalarType.Float, 1, 4, 8));
    Tensor weight = random(ScalarType.Float, 1, 8);
    Tensor gradient = random(ScalarType.Float, 1, mask.rows(), 16);
    float[] before = Tensors.toFloats(q.detach());
    float[] rows = Tensors.toFloats(x.detach());
    float[] handed = Tensors.toFloats(gradient);

    Tensor narrow = gradient.narrow(0, 0, 2).view(4, 8);
    differentiate(() -> kernels.attention(q, q, q, mask.spans()), gradient, List.of(q));
    differentiate(() -> kernels.rmsNorm(x, weight, 1e-5), narrow, List.of(x));
    Kernels.Rotation table = rotation(Type.FLOAT32, mask.rows(), 8);
    differentiate(() -> kernels.rotary(q, table), gradient.view(-1, 2, 8), List.of(q));
    Projection projection = by(random(ScalarType.Float, 1, 8, 8));
    differentiate(() -> kernels.swiGlu(x, projection, projection), narrow, List.of(x));

    assertThat(Tensors.toFloats(q.detach())).isEqualTo(before);
    assertThat(Tensors.toFloats(x.detach())).isEqualTo(rows);
    assertThat(Tensors.toFloats(gradient)).isEqualTo(handed);
  }

  @Test
  void nothingStaysBehind() throws Throwable {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(AttentionBatches.joint(9), AttentionBatches.plain(130)), Layout.leftPadded(8));
    Leaks.assertNone(
        () -> {
          try (TensorScope inner = new TensorScope()) {
            Tensor q = leaf(random(ScalarType.Float, 1, mask.rows(), 2, 8));
            differentiate(
                () ->
                    kernels.rmsNorm(
                        kernels.attention(q, q, q, mask.spans()),
                        random(ScalarType.Float, 1, 16),
                        1e-5),
                random(ScalarType.Float, 1, mask.rows(), 16),
                List.of(q));
          }
        });
  }

  static void assertClose(Tensor actual, Tensor expected, double tolerance) {
    float[] values = Tensors.toFloats(actual.detach());
    float[] wanted = Tensors.toFloats(expected.detach());
    assertThat(values).hasSameSizeAs(wanted);
    for (int i = 0; i < values.length; i++) {
      if (!(Math.abs(values[i] - wanted[i]) <= tolerance * Math.max(1, Math.abs(wanted[i])))) {
        assertThat((double) values[i])
            .as("element %d", i)
            .isCloseTo(wanted[i], within(tolerance * Math.max(1, Math.abs(wanted[i]))));
      }
    }
  }
}
