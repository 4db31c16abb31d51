package io.llara.model;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Throwables;
import com.google.common.util.concurrent.ThreadFactoryBuilder;
import com.google.common.util.concurrent.Uninterruptibles;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.kernels.Kernels;
import io.llara.kernels.PlainProjection;
import io.llara.kernels.Projection;
import io.llara.tensor.Libtorch;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Wires a model from a configuration and parts: the only place that knows both. */
public final class LlamaFactory {
  /** So many bytes of float32 matrices at most are on their way into a model at once. */
  private static final long MOST_UNDER_WAY = 256L << 20;

  private final LlamaConfig config;
  private final Parts parts;
  private final Kernels kernels;
  private final ScalarType type;

  /** What has been made so far, to be freed if loading fails half-way. */
  private final List<AutoCloseable> made = Collections.synchronizedList(new ArrayList<>());

  private LlamaFactory(LlamaConfig config, Parts parts, Kernels kernels, ScalarType type) {
    this.config = config;
    this.parts = parts;
    this.kernels = kernels;
    this.type = type;
  }

  /**
   * Builds a model. If anything fails, all that was allocated is freed.
   *
   * @param type the type to compute in
   * @param positions how many positions a sequence may have
   */
  public static LlamaModel build(
      LlamaConfig config, Parts parts, Kernels kernels, ScalarType type, int positions) {
    LlamaFactory factory = new LlamaFactory(config, parts, kernels, type);
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
    return new PlainProjection(
        weights.load(headName(config, weights), type, WeightSource.Use.KEPT), null);
  }

  /**
   * Returns the canonical name of the matrix that projects on the vocabulary: the embedding's where
   * they are tied.
   *
   * @throws UnsupportedModelException as {@link #head}
   */
  public static String headName(LlamaConfig config, WeightSource weights) {
    if (weights.has(LlamaTensors.HEAD)) {
      return LlamaTensors.HEAD;
    }
    if (!config.tieWordEmbeddings()) {
      throw new UnsupportedModelException(
          "the checkpoint has no "
              + LlamaTensors.HEAD
              + " and does not tie it to the embedding: it cannot predict tokens");
    }
    return LlamaTensors.EMBEDDING;
  }

  private LlamaModel model(int positions) {
    TokenEmbedding embedding = track(parts.embedding());
    List<DecoderLayer> layers = layers();
    Tensor scale = parts.norm(LlamaTensors.FINAL_NORM);
    RmsNorm norm = track(new RmsNorm(kernels, scale, config.rmsNormEps()));
    RotaryEmbedding rotary = track(RotaryEmbedding.create(config, positions, type, scale));
    return new LlamaModel(config, kernels, parts.rowPadding(), embedding, rotary, layers, norm);
  }

  /** Makes the layers, several at once where the parts allow it and the matrices are small. */
  private List<DecoderLayer> layers() {
    long matrix = (long) config.hiddenSize() * config.intermediateSize() * Float.BYTES;
    int threads =
        (int) Math.min(Runtime.getRuntime().availableProcessors(), MOST_UNDER_WAY / matrix);
    if (threads < 2 || !parts.forThreads()) {
      return IntStream.range(0, config.layers()).mapToObj(this::layer).toList();
    }
    ExecutorService executor =
        Executors.newFixedThreadPool(
            threads,
            new ThreadFactoryBuilder().setNameFormat("llara-load-%d").setDaemon(true).build());
    try {
      List<Future<DecoderLayer>> layers =
          IntStream.range(0, config.layers())
              .mapToObj(
                  i ->
                      executor.submit(
                          () -> {
                            Libtorch.useThreads(1);
                            return layer(i);
                          }))
              .toList();
      List<DecoderLayer> done = new ArrayList<>();
      for (Future<DecoderLayer> layer : layers) {
        done.add(Uninterruptibles.getUninterruptibly(layer));
      }
      return done;
    } catch (ExecutionException e) {
      Throwables.throwIfUnchecked(requireNonNull(e.getCause()));
      throw new IllegalStateException(e);
    } finally {
      // What is under way ends before anything is freed.
      executor.shutdownNow();
      Uninterruptibles.awaitTerminationUninterruptibly(executor);
    }
  }

  private DecoderLayer layer(int number) {
    String name = "layers." + number + ".";
    RmsNorm attentionNorm = norm(name + "input_layernorm.weight");
    String attention = name + "self_attn.";
    List<Projection> inputs =
        projections(attention + "q_proj", attention + "k_proj", attention + "v_proj");
    Projection output = track(parts.projection(attention + "o_proj"));
    RmsNorm feedForwardNorm = norm(name + "post_attention_layernorm.weight");
    List<Projection> factors = projections(name + "mlp.gate_proj", name + "mlp.up_proj");
    Projection down = track(parts.projection(name + "mlp.down_proj"));
    return new DecoderLayer(
        attentionNorm,
        new GroupedQueryAttention(kernels, inputs.get(0), inputs.get(1), inputs.get(2), output),
        feedForwardNorm,
        new SwiGluFeedForward(kernels, factors.get(0), factors.get(1), down));
  }

  private RmsNorm norm(String name) {
    return track(new RmsNorm(kernels, parts.norm(name), config.rmsNormEps()));
  }

  /** Returns projections of the same rows. */
  private List<Projection> projections(String... modules) {
    List<Projection> found = parts.projections(List.of(modules));
    made.addAll(found);
    return found;
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
