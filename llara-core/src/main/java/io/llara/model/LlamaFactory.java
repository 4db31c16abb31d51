package io.llara.model;

import static java.util.Objects.requireNonNull;

import io.llara.UnsupportedModelException;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.spi.Kernels;
import io.llara.spi.PackedProjection;
import io.llara.spi.PlainProjection;
import io.llara.spi.Projection;
import io.llara.tensor.TensorScope;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/** Wires a model from a configuration and weights: the only place that knows both. */
public final class LlamaFactory {
  private final LlamaConfig config;
  private final WeightSource weights;
  private final Kernels kernels;
  private final ScalarType type;
  private final boolean packed;
  private final int packedRows;
  private final Map<String, long[]> shapes;

  /** What has been made so far, to be freed if loading fails half-way. */
  private final List<AutoCloseable> made = new ArrayList<>();

  private LlamaFactory(
      LlamaConfig config,
      WeightSource weights,
      Kernels kernels,
      ScalarType type,
      boolean packed,
      int packedRows) {
    this.config = config;
    this.weights = weights;
    this.kernels = kernels;
    this.type = type;
    this.packed = packed;
    this.packedRows = packedRows;
    this.shapes = LlamaTensors.required(config);
  }

  /**
   * Builds a model. If anything fails, all that was allocated is freed.
   *
   * @param type the type to compute in
   * @param positions how many positions a sequence may have
   * @param packed whether projections are packed for this processor ({@link PackedProjection});
   *     needs a copy of the weights, saves time in every pass
   * @param packedRows the number of rows that packing prefers
   */
  public static LlamaModel build(
      LlamaConfig config,
      WeightSource weights,
      Kernels kernels,
      ScalarType type,
      int positions,
      boolean packed,
      int packedRows) {
    LlamaFactory factory = new LlamaFactory(config, weights, kernels, type, packed, packedRows);
    try {
      return factory.model(positions);
    } catch (RuntimeException | Error e) {
      factory.free(e);
      throw e;
    }
  }

  /**
   * Builds the projection on the vocabulary, {@code W ∈ R^{vocabulary × hidden}}; the caller closes
   * it.
   *
   * @throws UnsupportedModelException if the checkpoint has none and does not tie it to the
   *     embedding
   */
  public static Projection head(LlamaConfig config, WeightSource weights, ScalarType type) {
    String name = weights.has(LlamaTensors.HEAD) ? LlamaTensors.HEAD : LlamaTensors.EMBEDDING;
    if (name.equals(LlamaTensors.EMBEDDING) && !config.tieWordEmbeddings()) {
      throw new UnsupportedModelException(
          "the checkpoint has no "
              + LlamaTensors.HEAD
              + " and does not tie it to the embedding: it cannot predict tokens");
    }
    return new PlainProjection(
        weights.load(name, LlamaTensors.headShape(config), type, WeightSource.Use.KEPT), null);
  }

  private LlamaModel model(int positions) {
    // The embedding stays in the type it is stored in: rows are converted when they are looked up,
    // which is exact and needs no copy.
    Tensor embedding =
        track(
            weights.load(
                LlamaTensors.EMBEDDING,
                shape(LlamaTensors.EMBEDDING),
                weights.storedType(LlamaTensors.EMBEDDING, type),
                WeightSource.Use.KEPT));
    RotaryEmbedding rotary = track(RotaryEmbedding.create(config, positions, type));
    List<DecoderLayer> layers = new ArrayList<>();
    for (int i = 0; i < config.layers(); i++) {
      layers.add(layer("layers." + i + "."));
    }
    return new LlamaModel(
        config, kernels, type, embedding, rotary, layers, norm(LlamaTensors.FINAL_NORM));
  }

  private DecoderLayer layer(String name) {
    return new DecoderLayer(
        norm(name + "input_layernorm.weight"),
        new GroupedQueryAttention(
            kernels,
            projection(name + "self_attn.q_proj"),
            projection(name + "self_attn.k_proj"),
            projection(name + "self_attn.v_proj"),
            projection(name + "self_attn.o_proj"),
            config.headDim()),
        norm(name + "post_attention_layernorm.weight"),
        new SwiGluFeedForward(
            kernels,
            projection(name + "mlp.gate_proj"),
            projection(name + "mlp.up_proj"),
            projection(name + "mlp.down_proj")));
  }

  private RmsNorm norm(String name) {
    return track(new RmsNorm(kernels, load(name, WeightSource.Use.KEPT), config.rmsNormEps()));
  }

  private Projection projection(String name) {
    String biasName = name + ".bias";
    Tensor bias = shapes.containsKey(biasName) ? load(biasName, WeightSource.Use.KEPT) : null;
    try {
      return track(packed ? pack(name, bias) : plain(name, bias));
    } catch (RuntimeException | Error e) {
      if (bias != null) {
        bias.close(); // No projection owns it yet.
      }
      throw e;
    }
  }

  private Projection plain(String name, @Nullable Tensor bias) {
    return new PlainProjection(load(name + ".weight", WeightSource.Use.KEPT), bias);
  }

  private Projection pack(String name, @Nullable Tensor bias) {
    try (TensorScope scope = new TensorScope()) {
      Tensor weight = TensorScope.adopt(load(name + ".weight", WeightSource.Use.PASSING));
      return PackedProjection.pack(weight, bias, packedRows);
    }
  }

  private Tensor load(String name, WeightSource.Use use) {
    return weights.load(name, shape(name), type, use);
  }

  private long[] shape(String name) {
    return requireNonNull(shapes.get(name), name);
  }

  private <T extends AutoCloseable> T track(T part) {
    made.add(part);
    return part;
  }

  private void free(Throwable failure) {
    for (AutoCloseable part : made) {
      try {
        part.close();
      } catch (Exception e) {
        failure.addSuppressed(e);
      }
    }
  }
}
