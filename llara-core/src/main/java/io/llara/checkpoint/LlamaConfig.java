package io.llara.checkpoint;

import io.llara.ModelLoadException;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * The hyper-parameters of a LLaMA model, named as in the literature; messages use the keys of
 * {@code config.json}. Immutable.
 *
 * <p>The limits (1024 layers, sizes of 2^20, a vocabulary of 2^24) are far above any known model:
 * they keep a damaged file from asking for absurd amounts of memory.
 *
 * @param architecture the class the checkpoint was saved from, such as {@code LlamaForCausalLM}
 * @param hiddenSize the width of the hidden states, and the dimension of an embedding
 * @param intermediateSize the inner width of the feed-forward blocks
 * @param layers the number of decoder layers
 * @param heads the number of query heads
 * @param kvHeads the number of key and value heads; divides {@code heads}
 * @param headDim the width of one head; even; times {@code heads} it need not be the hidden size
 * @param vocabularySize the number of rows of the embedding matrix
 * @param rmsNormEps the epsilon of RMSNorm, above 0
 * @param ropeTheta the base of the rotary frequencies, above 0
 * @param ropeScaling what is done to these frequencies
 * @param tieWordEmbeddings whether the output projection is the embedding matrix
 * @param attentionBias whether the four attention projections have a bias
 * @param causal whether a token sees no later ones; a model that was made an encoder may see all
 * @param maxPositionEmbeddings the context length the model was made for, in tokens
 * @param slidingWindow how many tokens back attention reaches, where limited; longer prompts would
 *     need a windowed mask
 * @param bosTokenId the id that begins a sequence, if configured
 * @param eosTokenIds the ids that end a sequence; the first is the main one
 * @param torchDtype the type the weights are said to be in, as the file spells it; the tensors' own
 *     types count
 */
public record LlamaConfig(
    String architecture,
    int hiddenSize,
    int intermediateSize,
    int layers,
    int heads,
    int kvHeads,
    int headDim,
    int vocabularySize,
    double rmsNormEps,
    double ropeTheta,
    RopeScaling ropeScaling,
    boolean tieWordEmbeddings,
    boolean attentionBias,
    boolean causal,
    int maxPositionEmbeddings,
    OptionalInt slidingWindow,
    OptionalInt bosTokenId,
    List<Integer> eosTokenIds,
    Optional<String> torchDtype) {
  private static final int MAX_LAYERS = 1024;
  private static final int MAX_SIZE = 1 << 20;
  private static final int MAX_VOCABULARY = 1 << 24;
  private static final int MAX_POSITIONS = 1 << 30;

  /**
   * Checks all values.
   *
   * @throws IllegalArgumentException naming the key of {@code config.json}, what was found and what
   *     was expected
   */
  public LlamaConfig {
    Objects.requireNonNull(architecture, "architecture");
    Objects.requireNonNull(ropeScaling, "ropeScaling");
    Objects.requireNonNull(torchDtype, "torchDtype");
    eosTokenIds = List.copyOf(eosTokenIds);
    requireRange("hidden_size", hiddenSize, MAX_SIZE);
    requireRange("intermediate_size", intermediateSize, MAX_SIZE);
    requireRange("num_hidden_layers", layers, MAX_LAYERS);
    requireRange("num_attention_heads", heads, MAX_SIZE);
    requireRange("num_key_value_heads", kvHeads, MAX_SIZE);
    requireRange("head_dim", headDim, MAX_SIZE);
    requireRange("vocab_size", vocabularySize, MAX_VOCABULARY);
    requireRange("max_position_embeddings", maxPositionEmbeddings, MAX_POSITIONS);
    if (heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "num_attention_heads is %d; expected a multiple of num_key_value_heads, %d"
              .formatted(heads, kvHeads));
    }
    if (headDim % 2 != 0) {
      throw new IllegalArgumentException(
          "head_dim is %d; the rotary embedding needs an even number".formatted(headDim));
    }
    if ((long) heads * headDim > MAX_SIZE) {
      throw new IllegalArgumentException(
          "num_attention_heads times head_dim is %d; expected at most %d"
              .formatted((long) heads * headDim, MAX_SIZE));
    }
    requirePositive("rms_norm_eps", rmsNormEps);
    requirePositive("rope_theta", ropeTheta);
    if (slidingWindow.isPresent() && slidingWindow.getAsInt() < 1) {
      throw new IllegalArgumentException(
          "sliding_window is %d; expected 1 or more, or null".formatted(slidingWindow.getAsInt()));
    }
    bosTokenId.ifPresent(id -> requireId("bos_token_id", id));
    eosTokenIds.forEach(id -> requireId("eos_token_id", id));
  }

  /**
   * Reads a {@code config.json}.
   *
   * @throws ModelLoadException if the file cannot be read or a value is wrong
   * @throws io.llara.UnsupportedModelException if it describes a model this library does not run
   */
  public static LlamaConfig read(Path configJson) {
    return LlamaConfigReader.read(configJson);
  }

  /** Returns a builder with the defaults of the transformers library. */
  public static Builder builder() {
    return new Builder();
  }

  /** Returns the width of all query heads together: {@code heads * headDim}. */
  public int queryWidth() {
    return heads * headDim;
  }

  /** Returns the width of all key heads together: {@code kvHeads * headDim}. */
  public int keyValueWidth() {
    return kvHeads * headDim;
  }

  /** Returns the main id that ends a sequence, if configured. */
  public OptionalInt eosTokenId() {
    return eosTokenIds.isEmpty() ? OptionalInt.empty() : OptionalInt.of(eosTokenIds.get(0));
  }

  private static void requireRange(String key, int value, int max) {
    if (value < 1 || value > max) {
      throw new IllegalArgumentException("%s is %d; expected 1 to %d".formatted(key, value, max));
    }
  }

  private static void requireId(String key, int id) {
    if (id < 0) {
      throw new IllegalArgumentException(
          "%s is %d; expected 0 or more, or null".formatted(key, id));
    }
  }

  static void requirePositive(String key, double value) {
    if (!(value > 0) || Double.isInfinite(value)) {
      throw new IllegalArgumentException(
          "%s is %s; expected a finite number above 0".formatted(key, value));
    }
  }

  /** Collects hyper-parameters; the five sizes are required. Not thread-safe. */
  public static final class Builder {
    private String architecture = "LlamaForCausalLM";
    private int hiddenSize;
    private int intermediateSize;
    private int layers;
    private int heads;
    private OptionalInt kvHeads = OptionalInt.empty();
    private OptionalInt headDim = OptionalInt.empty();
    private int vocabularySize;
    private double rmsNormEps = 1e-6;
    private double ropeTheta = 10_000;
    private RopeScaling ropeScaling = RopeScaling.none();
    private boolean tieWordEmbeddings;
    private boolean attentionBias;
    private boolean causal = true;
    private int maxPositionEmbeddings = 2048;
    private OptionalInt slidingWindow = OptionalInt.empty();
    private OptionalInt bosTokenId = OptionalInt.empty();
    private List<Integer> eosTokenIds = List.of();
    private Optional<String> torchDtype = Optional.empty();

    private Builder() {}

    /** Sets the class the checkpoint was saved from; {@code LlamaForCausalLM} by default. */
    public Builder architecture(String name) {
      architecture = name;
      return this;
    }

    /** Sets the width of the hidden states; required. */
    public Builder hiddenSize(int size) {
      hiddenSize = size;
      return this;
    }

    /** Sets the inner width of the feed-forward blocks; required. */
    public Builder intermediateSize(int size) {
      intermediateSize = size;
      return this;
    }

    /** Sets the number of decoder layers; required. */
    public Builder layers(int count) {
      layers = count;
      return this;
    }

    /** Sets the number of query heads; required. */
    public Builder heads(int count) {
      heads = count;
      return this;
    }

    /** Sets the number of key and value heads; as many as query heads by default. */
    public Builder kvHeads(int count) {
      kvHeads = OptionalInt.of(count);
      return this;
    }

    /** Sets the width of one head; hidden size / heads by default. */
    public Builder headDim(int size) {
      headDim = OptionalInt.of(size);
      return this;
    }

    /** Sets the number of rows of the embedding matrix; required. */
    public Builder vocabularySize(int size) {
      vocabularySize = size;
      return this;
    }

    /** Sets the epsilon of RMSNorm; 1e-6 by default. */
    public Builder rmsNormEps(double eps) {
      rmsNormEps = eps;
      return this;
    }

    /** Sets the base of the rotary frequencies; 10,000 by default. */
    public Builder ropeTheta(double theta) {
      ropeTheta = theta;
      return this;
    }

    /** Sets the scaling of the rotary frequencies; none by default. */
    public Builder ropeScaling(RopeScaling scaling) {
      ropeScaling = scaling;
      return this;
    }

    /** Sets whether the output projection is the embedding matrix; false by default. */
    public Builder tieWordEmbeddings(boolean tied) {
      tieWordEmbeddings = tied;
      return this;
    }

    /** Sets whether the attention projections have a bias; false by default. */
    public Builder attentionBias(boolean bias) {
      attentionBias = bias;
      return this;
    }

    /** Sets whether a token sees no later ones; true by default. */
    public Builder causal(boolean isCausal) {
      causal = isCausal;
      return this;
    }

    /** Sets the context length; 2048 by default. */
    public Builder maxPositionEmbeddings(int tokens) {
      maxPositionEmbeddings = tokens;
      return this;
    }

    /** Sets how far back attention reaches; without limit by default. */
    public Builder slidingWindow(int tokens) {
      slidingWindow = OptionalInt.of(tokens);
      return this;
    }

    /** Sets the id that begins a sequence; none by default. */
    public Builder bosTokenId(int id) {
      bosTokenId = OptionalInt.of(id);
      return this;
    }

    /** Sets the ids that end a sequence; none by default. */
    public Builder eosTokenIds(List<Integer> ids) {
      eosTokenIds = ids;
      return this;
    }

    /** Sets the type the weights are said to be in; none by default. */
    public Builder torchDtype(String dtype) {
      torchDtype = Optional.of(dtype);
      return this;
    }

    /**
     * Returns the configuration.
     *
     * @throws IllegalArgumentException if a value is missing or wrong
     */
    public LlamaConfig build() {
      return new LlamaConfig(
          architecture,
          hiddenSize,
          intermediateSize,
          layers,
          heads,
          kvHeads.orElse(heads),
          headDim.isPresent() ? headDim.getAsInt() : defaultHeadDim(),
          vocabularySize,
          rmsNormEps,
          ropeTheta,
          ropeScaling,
          tieWordEmbeddings,
          attentionBias,
          causal,
          maxPositionEmbeddings,
          slidingWindow,
          bosTokenId,
          eosTokenIds,
          torchDtype);
    }

    private int defaultHeadDim() {
      requireRange("hidden_size", hiddenSize, MAX_SIZE);
      requireRange("num_attention_heads", heads, MAX_SIZE);
      if (hiddenSize % heads != 0) {
        throw new IllegalArgumentException(
            "hidden_size is %d; without head_dim it must be a multiple of num_attention_heads, %d"
                .formatted(hiddenSize, heads));
      }
      return hiddenSize / heads;
    }
  }
}
