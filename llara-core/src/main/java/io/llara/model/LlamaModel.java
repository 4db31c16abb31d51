package io.llara.model;

import io.llara.attention.AttentionMask;
import io.llara.checkpoint.LlamaConfig;
import io.llara.spi.Kernels;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The forward pass of a LLaMA decoder (arXiv 2302.13971; grouped-query attention and biases as the
 * configuration has them) over a packed batch: token ids of several prompts in one row, without
 * padding, told apart by their attention mask.
 *
 * <p>Immutable; several lanes may run it at once. Results belong to the caller's innermost {@link
 * TensorScope}. Closed by its owner when no lane runs it any more.
 */
public final class LlamaModel implements AutoCloseable {
  private final LlamaConfig config;
  private final Kernels kernels;
  private final ScalarType computeType;
  private final Tensor embedding;
  private final RotaryEmbedding rotary;
  private final List<DecoderLayer> layers;
  private final RmsNorm norm;

  /**
   * Takes ownership of the parts.
   *
   * @param embedding {@code [vocabulary, hidden]}, in any floating type
   */
  LlamaModel(
      LlamaConfig config,
      Kernels kernels,
      ScalarType computeType,
      Tensor embedding,
      RotaryEmbedding rotary,
      List<DecoderLayer> layers,
      RmsNorm norm) {
    this.config = config;
    this.kernels = kernels;
    this.computeType = computeType;
    this.embedding = embedding;
    this.rotary = rotary;
    this.layers = List.copyOf(layers);
    this.norm = norm;
  }

  /** Returns the configuration. */
  public LlamaConfig config() {
    return config;
  }

  /**
   * Runs the model.
   *
   * @param batch the rows and who may see whom
   * @param rows the rows whose hidden states are wanted, ascending; the last layer computes no
   *     others
   * @param betweenLayers called before each layer; may throw to abandon the pass, which leaks
   *     nothing
   * @return the hidden states after the final norm, {@code [rows.length, hidden]}
   * @throws IllegalArgumentException if an id is not in the vocabulary
   */
  public Tensor forward(AttentionMask batch, int[] rows, Runnable betweenLayers) {
    int[] ids = batch.rowIds();
    requireKnown(ids);
    try (TensorScope scope = new TensorScope()) {
      // Rows of padding hold token 0 at position 0; no span covers them, and nobody reads them.
      int padded = kernels.paddedRows(ids.length);
      Tensor hidden =
          embedding.index_select(0, Tensors.ofInts(Arrays.copyOf(ids, padded))).to(computeType);
      Kernels.Rotation rotation = rotary.at(Arrays.copyOf(batch.keyPositions(), padded));
      for (DecoderLayer layer : layers.subList(0, layers.size() - 1)) {
        betweenLayers.run();
        Tensor next = layer.apply(hidden, rotation, batch);
        scope.free(hidden);
        hidden = next;
      }
      betweenLayers.run();
      Tensor wanted = norm.apply(last(hidden, rotation, batch, rows));
      return scope.keep(wanted.narrow(0, 0, rows.length).clone());
    }
  }

  private Tensor last(Tensor hidden, Kernels.Rotation rotation, AttentionMask batch, int[] rows) {
    DecoderLayer layer = layers.get(layers.size() - 1);
    if (rows.length == batch.queryRows()) {
      return layer.apply(hidden, rotation, batch);
    }
    AttentionMask wanted = batch.restrictTo(rows);
    int padded = kernels.paddedRows(rows.length);
    return layer.apply(
        hidden,
        Tensors.ofInts(Arrays.copyOf(rows, padded)),
        rotation,
        rotary.at(Arrays.copyOf(wanted.positions(), padded)),
        wanted);
  }

  /**
   * Checks token ids, so that one caller's mistake does not end a batch it shares with others.
   *
   * @throws IllegalArgumentException if an id is not in the vocabulary
   */
  public void requireKnown(int[] ids) {
    for (int id : ids) {
      if (id < 0 || id >= config.vocabularySize()) {
        throw new IllegalArgumentException(
            "token id "
                + id
                + " is outside of the model's vocabulary of "
                + config.vocabularySize());
      }
    }
  }

  @Override
  public void close() {
    embedding.close();
    rotary.close();
    layers.forEach(DecoderLayer::close);
    norm.close();
  }
}
