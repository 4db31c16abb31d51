package io.llara.model;

import io.llara.attention.AttentionMask;
import io.llara.checkpoint.LlamaConfig;
import io.llara.kernels.Kernels;
import io.llara.kernels.Kernels.Rotation;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntUnaryOperator;
import org.bytedeco.pytorch.Tensor;

/**
 * The forward pass of a LLaMA decoder (arXiv 2302.13971; grouped-query attention and biases as the
 * configuration has them) over a packed batch: token ids of several prompts in one row, without
 * padding, kept apart by their attention mask.
 *
 * <p>Immutable; several lanes may run it at once. Results belong to the caller's innermost {@link
 * TensorScope}. Closed by its owner when no lane runs it any more.
 */
public final class LlamaModel implements AutoCloseable {
  private final LlamaConfig config;
  private final Kernels kernels;
  private final IntUnaryOperator rowPadding;
  private final TokenEmbedding embedding;
  private final RotaryEmbedding rotary;
  private final List<DecoderLayer> layers;
  private final RmsNorm norm;

  /**
   * Takes ownership of the parts.
   *
   * @param rowPadding how many rows a batch is padded to, given its own
   */
  LlamaModel(
      LlamaConfig config,
      Kernels kernels,
      IntUnaryOperator rowPadding,
      TokenEmbedding embedding,
      RotaryEmbedding rotary,
      List<DecoderLayer> layers,
      RmsNorm norm) {
    this.config = config;
    this.kernels = kernels;
    this.rowPadding = rowPadding;
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
   * @param batch the rows and who may see whom; their token ids must be {@linkplain #requireKnown
   *     known}
   * @param rows the rows whose hidden states are wanted, ascending; the last layer computes no
   *     others
   * @param betweenLayers called before each layer; may throw to abandon the pass, which leaks
   *     nothing
   * @return the hidden states after the final norm, {@code [rows.length, hidden]}
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
   * @param batch its token ids must be {@linkplain #requireKnown known}
   * @param rows the rows whose hidden states are wanted, ascending
   */
  public Pass pass(AttentionMask batch, int[] rows) {
    return new Pass(config.causal() ? batch : batch.bidirectional(), rows);
  }

  /** One batch on its way: {@link #embed}, every {@link #layer} in turn, {@link #finish}. */
  public final class Pass {
    private final int[] ids;
    private final int wanted;
    private final Rows all;
    private final Rows last;

    private Pass(AttentionMask batch, int[] wanted) {
      int[] tokens = batch.rowIds();
      // Rows of padding hold token 0 at position 0; no span covers them, and nothing reads them.
      int padded = rowPadding.applyAsInt(batch.rows());
      this.ids = Arrays.copyOf(tokens, padded);
      this.wanted = wanted.length;
      Rotation rotation = rotary.at(Arrays.copyOf(batch.positions(), padded));
      this.all = new Rows(null, rotation, rotation, kernels.attention(batch.spans()));
      this.last = wanted.length == batch.rows() ? all : select(wanted, batch, rotation);
    }

    private Rows select(int[] wanted, AttentionMask batch, Rotation rotation) {
      int[] padded = Arrays.copyOf(wanted, rowPadding.applyAsInt(wanted.length));
      Tensor indices = Tensors.ofInts(padded, rotation.cos());
      return new Rows(
          indices, rotation.of(indices), rotation, kernels.attention(batch.spans(wanted)));
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
      return embedding.apply(ids);
    }

    /**
     * Runs one layer.
     *
     * @param hidden the result of the layer before it, {@code [rows, hidden]}
     * @return {@code [rows, hidden]}; of the last layer, the wanted rows alone
     */
    public Tensor layer(int index, Tensor hidden) {
      return layers.get(index).apply(hidden, index == layers.size() - 1 ? last : all);
    }

    /** Applies the final norm and leaves padding behind: {@code [wanted rows, hidden]}. */
    public Tensor finish(Tensor hidden) {
      try (TensorScope scope = new TensorScope()) {
        return scope.keep(norm.apply(hidden).narrow(0, 0, wanted));
      }
    }
  }

  /**
   * Checks token ids. It is done once, where prompts come in: one caller's mistake must not end a
   * batch it shares with others. Works on a closed model.
   *
   * @throws IllegalArgumentException if an id is not in the vocabulary
   */
  public void requireKnown(int[] ids) {
    int vocabulary = config.vocabularySize();
    for (int id : ids) {
      if (id < 0 || id >= vocabulary) {
        throw new IllegalArgumentException(
            "token id %d is outside of the model's vocabulary of %d".formatted(id, vocabulary));
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
