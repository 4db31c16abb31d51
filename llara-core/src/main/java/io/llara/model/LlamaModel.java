package io.llara.model;

import io.llara.attention.AttentionMask;
import io.llara.checkpoint.LlamaConfig;
import io.llara.kernels.Kernels;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

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
    try (TensorScope scope = new TensorScope()) {
      Pass pass = pass(batch, rows);
      Tensor hidden = pass.embed();
      for (int layer = 0; layer < layers.size(); layer++) {
        betweenLayers.run();
        Tensor next = pass.layer(layer, hidden);
        scope.free(hidden);
        hidden = next;
      }
      return scope.keep(pass.finish(hidden).clone());
    }
  }

  /**
   * Prepares a batch to be taken through the model layer by layer, by one thread. What the pass
   * holds belongs to the caller's innermost scope.
   *
   * @param rows the rows whose hidden states are wanted, ascending
   * @throws IllegalArgumentException if an id is not in the vocabulary
   */
  public Pass pass(AttentionMask batch, int[] rows) {
    return new Pass(batch, rows);
  }

  /** One batch on its way: {@link #embed}, every {@link #layer} in turn, {@link #finish}. */
  public final class Pass {
    private final AttentionMask batch;
    private final int[] ids;
    private final int wanted;
    private final Kernels.Rotation rotation;

    /** The mask, rows and rotation of the last layer's queries; null if they are all rows. */
    private final @Nullable AttentionMask lastBatch;

    private final @Nullable Tensor lastRows;
    private final Kernels.Rotation lastRotation;

    private Pass(AttentionMask batch, int[] rows) {
      this.batch = batch;
      this.wanted = rows.length;
      requireKnown(batch.rowIds());
      // Rows of padding hold token 0 at position 0; no span covers them, and nobody reads them.
      int padded = kernels.paddedRows(batch.keyRows());
      this.ids = Arrays.copyOf(batch.rowIds(), padded);
      this.rotation = rotary.at(Arrays.copyOf(batch.keyPositions(), padded));
      if (rows.length == batch.queryRows()) {
        this.lastBatch = null;
        this.lastRows = null;
        this.lastRotation = rotation;
      } else {
        int lastPadded = kernels.paddedRows(rows.length);
        this.lastBatch = batch.restrictTo(rows);
        this.lastRows = Tensors.ofInts(Arrays.copyOf(rows, lastPadded));
        this.lastRotation = rotary.at(Arrays.copyOf(lastBatch.positions(), lastPadded));
      }
    }

    /** Returns the token ids of the rows, padding included. */
    public int[] ids() {
      return ids.clone();
    }

    /** Returns the number of layers. */
    public int layers() {
      return layers.size();
    }

    /** Looks the tokens up, {@code [rows, hidden]}, padding included. */
    public Tensor embed() {
      try (TensorScope scope = new TensorScope()) {
        return scope.keep(embedding.index_select(0, Tensors.ofInts(ids)).to(computeType));
      }
    }

    /**
     * Runs one layer.
     *
     * @param hidden the result of the layer before it, {@code [rows, hidden]}
     * @return {@code [rows, hidden]}; of the last layer, the wanted rows alone
     */
    public Tensor layer(int index, Tensor hidden) {
      DecoderLayer layer = layers.get(index);
      if (index < layers.size() - 1 || lastBatch == null || lastRows == null) {
        return layer.apply(hidden, rotation, batch);
      }
      return layer.apply(hidden, lastRows, rotation, lastRotation, lastBatch);
    }

    /** Applies the final norm and leaves padding behind: {@code [wanted rows, hidden]}. */
    public Tensor finish(Tensor hidden) {
      try (TensorScope scope = new TensorScope()) {
        return scope.keep(norm.apply(hidden).narrow(0, 0, wanted));
      }
    }
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
