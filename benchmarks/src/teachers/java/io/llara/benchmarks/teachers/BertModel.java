package io.llara.benchmarks.teachers;

import com.google.common.primitives.Ints;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * BERT's forward pass (arXiv 1810.04805) by libtorch, with the weights of an ONNX file, in bfloat16
 * where that is asked for: three to four times as fast as ONNX Runtime, which has no such products
 * on x86, on processors that have. All models here have 12 heads and width 384. For one thread.
 */
final class BertModel implements StateModel {
  private static final int WIDTH = JarModel.DIMENSION;
  private static final int HEADS = 12;
  private static final int INNER = 4 * WIDTH;
  private static final double EPSILON = 1e-12;

  private final TensorScope owner = new TensorScope();
  private final ScalarType type;
  private final Tensor words;
  private final Tensor positions;
  private final Norm embeddingNorm;
  private final List<Layer> layers = new ArrayList<>();

  /** Weights of a norm. */
  private record Norm(Tensor weight, Tensor bias) {
    Tensor apply(Tensor x) {
      return torch.layer_norm(
          x,
          new long[] {WIDTH},
          new TensorOptional(weight),
          new TensorOptional(bias),
          EPSILON,
          false);
    }
  }

  /** Weights of a linear map. */
  private record Linear(Tensor weight, Tensor bias) {
    Tensor apply(Tensor x) {
      return torch.linear(x, weight, new TensorOptional(bias));
    }
  }

  private record Layer(
      Linear queryKeyValue, Linear attended, Norm middle, Linear up, Linear down, Norm last) {}

  /** Copies the weights. */
  BertModel(OnnxWeights weights, ScalarType type, int threads) {
    this.type = type;
    Libtorch.load();
    Libtorch.useThreads(threads);
    try (NoGradGuard noGrad = new NoGradGuard()) {
      Tensor kinds =
          Tensors.ofFloats(weights.named("embeddings.token_type_embeddings.weight"), 2, WIDTH);
      words = floats(weights.named("embeddings.word_embeddings.weight"), WIDTH);
      positions =
          floats(weights.named("embeddings.position_embeddings.weight"), WIDTH)
              .add(kinds.narrow(0, 0, 1));
      embeddingNorm = norm(weights, "embeddings", ScalarType.Float);
      Iterator<float[]> matrices = weights.matrices().iterator();
      while (matrices.hasNext()) {
        String name = "encoder.layer." + layers.size() + ".";
        Tensor[] inputs = new Tensor[3];
        Tensor[] biases = new Tensor[3];
        String[] names = {"query", "key", "value"};
        for (int i = 0; i < 3; i++) {
          inputs[i] = matrix(matrices.next(), WIDTH, WIDTH);
          biases[i] = vector(weights.named(name + "attention.self." + names[i] + ".bias"));
        }
        layers.add(
            new Layer(
                new Linear(
                    torch.cat(new TensorVector(inputs), 0),
                    torch.cat(new TensorVector(biases), 0)),
                linear(weights, matrices, name + "attention.output.dense", WIDTH, WIDTH),
                norm(weights, name + "attention.output", type),
                linear(weights, matrices, name + "intermediate.dense", WIDTH, INNER),
                linear(weights, matrices, name + "output.dense", INNER, WIDTH),
                norm(weights, name + "output", type)));
      }
    }
  }

  private static Tensor floats(float[] values, int columns) {
    return Tensors.ofFloats(values, values.length / columns, columns);
  }

  private Tensor vector(float[] values) {
    return Tensors.ofFloats(values, values.length).to(type);
  }

  private Tensor matrix(float[] values, int in, int out) {
    try (TensorScope scope = new TensorScope()) {
      return scope.keep(Tensors.ofFloats(values, in, out).t().to(type).contiguous());
    }
  }

  private Linear linear(
      OnnxWeights weights, Iterator<float[]> matrices, String name, int in, int out) {
    return new Linear(
        matrix(matrices.next(), in, out), vector(weights.named(name + ".bias")));
  }

  private static Norm norm(OnnxWeights weights, String name, ScalarType type) {
    float[] weight = weights.named(name + ".LayerNorm.weight");
    float[] bias = weights.named(name + ".LayerNorm.bias");
    return new Norm(
        Tensors.ofFloats(weight, WIDTH).to(type), Tensors.ofFloats(bias, WIDTH).to(type));
  }

  @Override
  public float[] states(int[] ids, int[] lengths) {
    long texts = lengths.length;
    long length = ids.length / texts;
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor x =
          words
              .index_select(0, Tensors.ofInts(ids))
              .view(texts, length, WIDTH)
              .add_(positions.narrow(0, 0, length));
      x = embeddingNorm.apply(x).to(type);
      TensorOptional mask =
          Ints.min(lengths) == length ? new TensorOptional() : mask(lengths, (int) length);
      for (Layer layer : layers) {
        x = layer(layer, x, mask);
      }
      return Tensors.toFloats(x);
    }
  }

  private TensorOptional mask(int[] lengths, int length) {
    float[] values = new float[lengths.length * length];
    for (int i = 0; i < lengths.length; i++) {
      int row = i * length;
      IntStream.range(row + lengths[i], row + length)
          .forEach(place -> values[place] = Float.NEGATIVE_INFINITY);
    }
    Tensor mask = Tensors.ofFloats(values, lengths.length, 1, 1, length);
    return new TensorOptional(mask.to(type).expand(lengths.length, HEADS, length, length));
  }

  private static Tensor layer(Layer layer, Tensor x, TensorOptional mask) {
    try (TensorScope scope = new TensorScope()) {
      long texts = x.size(0);
      long length = x.size(1);
      Tensor parts =
          layer
              .queryKeyValue()
              .apply(x)
              .view(texts, length, 3, HEADS, WIDTH / HEADS)
              .permute(2, 0, 3, 1, 4);
      Tensor attended =
          torch
              .scaled_dot_product_attention(
                  parts.select(0, 0),
                  parts.select(0, 1),
                  parts.select(0, 2),
                  mask,
                  0,
                  false,
                  new DoubleOptional(),
                  false)
              .transpose(1, 2)
              .reshape(texts, length, WIDTH);
      Tensor middle = layer.middle().apply(layer.attended().apply(attended).add_(x));
      Tensor inner = torch.gelu(layer.up().apply(middle));
      return scope.keep(layer.last().apply(layer.down().apply(inner).add_(middle)));
    }
  }

  @Override
  public void close() {
    owner.close();
  }
}
