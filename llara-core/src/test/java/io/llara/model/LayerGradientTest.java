package io.llara.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.kernels.FusedKernels;
import io.llara.kernels.GradientTape;
import io.llara.kernels.Kernels;
import io.llara.kernels.LibtorchKernels;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.prompt.PromptBuilder;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.RandomCheckpoint;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * The gradients of all layers and the final norm over the kernels of training, against autograd
 * through libtorch's operators in float32.
 */
class LayerGradientTest {
  private static final LlamaConfig CONFIG =
      LlamaConfig.builder()
          .hiddenSize(24)
          .intermediateSize(20)
          .layers(3)
          .heads(4)
          .kvHeads(2)
          .vocabularySize(20)
          .attentionBias(true)
          .build();

  @BeforeAll
  static void load() {
    Libtorch.load();
  }

  /**
   * Weights that are bfloat16 numbers, as leaves of a type; the model owns other handles of them.
   */
  private static final class Leaves implements Parts {
    private final ScalarType type;
    private final Map<String, Tensor> byName = new LinkedHashMap<>();

    Leaves(ScalarType type) {
      this.type = type;
    }

    private Tensor leaf(String name) {
      long[] shape = LlamaTensors.required(CONFIG).get(name);
      try (TensorScope scope = new TensorScope()) {
        Tensor leaf =
            Tensors.ofFloats(RandomCheckpoint.values(name, shape, 1), shape)
                .to(ScalarType.BFloat16)
                .to(type)
                .requires_grad_(true);
        byName.put(name, scope.keep(leaf));
        return scope.own(leaf);
      }
    }

    @Override
    public TokenEmbedding embedding() {
      return new TokenEmbedding(leaf(LlamaTensors.EMBEDDING), type);
    }

    @Override
    public Tensor norm(String name) {
      return leaf(name);
    }

    @Override
    public Projection projection(String module) {
      String bias = module + ".bias";
      return new PlainProjection(
          leaf(module + ".weight"),
          LlamaTensors.required(CONFIG).containsKey(bias) ? leaf(bias) : null);
    }

    @Override
    public IntUnaryOperator rowPadding() {
      return rows -> (rows + 15) / 16 * 16;
    }
  }

  /** Returns the gradient by each weight, of a weighted sum of what is pooled. */
  private static Map<String, float[]> gradients(Kernels kernels, ScalarType type) {
    Map<String, float[]> found = new LinkedHashMap<>();
    PromptBuilder prompts =
        PromptBuilder.ofIds(new int[] {1}, new int[] {2, 3, 4}, new int[] {5, 6, 7, 8, 9}, 2);
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(
                prompts.jointFromIds(IntStream.range(3, 20).toArray()),
                prompts.fromIds(IntStream.range(0, 7).toArray(), Mode.SELF),
                prompts.jointFromIds(new int[] {4})),
            Layout.packed());
    int[] rows = {3, 17, mask.rows() - 8, mask.rows() - 1};
    Leaves leaves = new Leaves(type);
    try (TensorScope scope = new TensorScope();
        LlamaModel model = LlamaFactory.build(CONFIG, leaves, kernels, type, 64);
        GradientTape tape = new GradientTape()) {
      leaves.byName.remove(LlamaTensors.EMBEDDING);
      LlamaModel.Pass pass = model.pass(mask, rows);
      Tensor embedded = pass.embed().detach().requires_grad_(true);
      Tensor output =
          tape.record(
              () -> {
                Tensor hidden = embedded;
                for (int layer = 0; layer < pass.layers(); layer++) {
                  hidden = pass.layer(layer, hidden);
                }
                return pass.finish(hidden);
              });
      long[] shape = output.shape();
      Tensor weights =
          Tensors.ofFloats(RandomCheckpoint.values("gradient", shape, 2), shape)
              .to(ScalarType.BFloat16)
              .to(type);
      TensorVector inputs = new TensorVector(embedded);
      leaves.byName.values().forEach(inputs::push_back);
      TensorVector gradients = tape.differentiate(output, weights, inputs);
      found.put("input", Tensors.toFloats(gradients.get(0)));
      int i = 1;
      for (String name : leaves.byName.keySet()) {
        found.put(name, Tensors.toFloats(gradients.get(i++)));
      }
      return found;
    }
  }

  /** The distance between gradients by a weight, as a share of the length of the longest of all. */
  private static Map<String, Double> distances(
      Map<String, float[]> actual, Map<String, float[]> expected) {
    assertThat(actual.keySet()).isEqualTo(expected.keySet()).hasSize(1 + 3 * 13 + 1);
    double longest =
        expected.values().stream()
            .mapToDouble(g -> distance(g, new float[g.length]))
            .max()
            .orElse(0);
    assertThat(longest).isPositive();
    Map<String, Double> distances = new LinkedHashMap<>();
    expected.forEach((name, g) -> distances.put(name, distance(actual.get(name), g) / longest));
    return distances;
  }

  private static double distance(float[] a, float[] b) {
    double squares = 0;
    for (int i = 0; i < a.length; i++) {
      squares += Math.pow(a[i] - b[i], 2);
    }
    return Math.sqrt(squares);
  }

  @Test
  void gradientsEqualThoseOfAutogradInFloat32() {
    Map<String, float[]> expected = gradients(new LibtorchKernels(), ScalarType.Float);

    distances(gradients(FusedKernels.forTraining(), ScalarType.Float), expected)
        .forEach((name, distance) -> assertThat(distance).as(name).isLessThan(1e-5));
  }

  @Test
  void gradientsInBfloat16AreNoFartherOffThanAutogradsAre() {
    Map<String, float[]> expected = gradients(new LibtorchKernels(), ScalarType.Float);
    double autograd =
        sum(distances(gradients(new LibtorchKernels(), ScalarType.BFloat16), expected));

    double own =
        sum(distances(gradients(FusedKernels.forTraining(), ScalarType.BFloat16), expected));

    assertThat(own).isPositive().isLessThan(1.1 * autograd);
  }

  private static double sum(Map<String, Double> distances) {
    return distances.values().stream().mapToDouble(Double::doubleValue).sum();
  }
}
