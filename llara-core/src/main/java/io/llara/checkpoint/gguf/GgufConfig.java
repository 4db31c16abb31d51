package io.llara.checkpoint.gguf;

import com.google.gson.JsonArray;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.RopeScaling;
import io.llara.checkpoint.StorageType;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * The hyper-parameters of a GGUF file of architecture {@code llama}, and the {@code config.json}
 * that says the same. What the forward pass of this library does not do is refused.
 */
final class GgufConfig {
  static final String ROPE_FACTORS = "rope_freqs.weight";

  private static final String ARCHITECTURE = "general.architecture";
  private static final String LLAMA = "llama";
  private static final String PREFIX = LLAMA + ".";
  private static final String HEADS = PREFIX + "attention.head_count";
  private static final String KV_HEADS = PREFIX + "attention.head_count_kv";
  private static final String KEY_LENGTH = PREFIX + "attention.key_length";
  private static final String VALUE_LENGTH = PREFIX + "attention.value_length";
  private static final String WINDOW = PREFIX + "attention.sliding_window";
  private static final String EPSILON = PREFIX + "attention.layer_norm_rms_epsilon";
  private static final String ROTARY_LENGTH = PREFIX + "rope.dimension_count";
  private static final String SCALING = PREFIX + "rope.scaling.type";
  private static final String SCALING_FACTOR = PREFIX + "rope.scaling.factor";
  private static final String OLD_SCALING_FACTOR = PREFIX + "rope.scale_linear";
  private static final String ORIGINAL_LENGTH = PREFIX + "rope.scaling.original_context_length";

  /** The rest of LLaMA 3's rotary scaling, which the file does not tell; the same in all models. */
  private static final int LLAMA3_LENGTH = 8192;

  private static final double LLAMA3_LOW = 1;
  private static final double LLAMA3_HIGH = 4;

  /** Rotary factors are computed in single precision. */
  private static final double FACTOR_TOLERANCE = 1e-4;

  private final GgufHeader header;
  private final JsonSection metadata;
  private final GgufVocabulary vocabulary;

  GgufConfig(GgufHeader header, GgufVocabulary vocabulary) {
    this.header = header;
    this.metadata = header.metadata();
    this.vocabulary = vocabulary;
  }

  /** Fails unless the file holds a whole model of architecture {@code llama}. */
  static void checkArchitecture(JsonSection metadata) {
    String type = "general.type";
    String parts = "split.count";
    String experts = PREFIX + "expert_count";
    String parallel = PREFIX + "use_parallel_residual";
    String causal = PREFIX + "attention.causal";
    boolean isLlama = metadata.requiredString(ARCHITECTURE).equals(LLAMA);
    require(isLlama, metadata, ARCHITECTURE, "'llama'");
    require(metadata.string(type).orElse("model").equals("model"), metadata, type, "'model'");
    require(metadata.integer(parts).orElse(1) <= 1, metadata, parts, "a model in one file");
    require(
        metadata.integer(experts).orElse(0) == 0,
        metadata,
        experts,
        "one feed-forward block a layer");
    require(!metadata.bool(parallel).orElse(false), metadata, parallel, "false");
    require(metadata.bool(causal).orElse(true), metadata, causal, "true");
  }

  private static void require(
      boolean supported, JsonSection metadata, String key, String expected) {
    if (!supported) {
      throw metadata.unsupported(key, metadata.describe(key), expected);
    }
  }

  int blockCount() {
    return metadata.requiredInt(PREFIX + "block_count");
  }

  /**
   * Returns the hyper-parameters.
   *
   * @param layers how many layers to say there are
   * @param type the type the weights are to be in
   */
  LlamaConfig read(int layers, StorageType type) {
    int hidden = metadata.requiredInt(PREFIX + "embedding_length");
    int heads = metadata.requiredInt(HEADS);
    LlamaConfig.Builder builder =
        LlamaConfig.builder()
            .hiddenSize(hidden)
            .intermediateSize(metadata.requiredInt(PREFIX + "feed_forward_length"))
            .layers(layers)
            .heads(heads)
            .vocabularySize(vocabulary.size())
            .rmsNormEps(metadata.requiredNumber(EPSILON))
            .maxPositionEmbeddings(metadata.requiredInt(PREFIX + "context_length"))
            .tieWordEmbeddings(!header.tensors().containsKey("output.weight"))
            .attentionBias(hasAttentionBias())
            .torchDtype(type.torchName());
    metadata.integer(KV_HEADS).ifPresent(builder::kvHeads);
    metadata.number(PREFIX + "rope.freq_base").ifPresent(builder::ropeTheta);
    vocabulary.special(GgufVocabulary.BOS).ifPresent(builder::bosTokenId);
    vocabulary.special(GgufVocabulary.EOS).ifPresent(id -> builder.eosTokenIds(List.of(id)));
    metadata
        .integer(WINDOW)
        .filter(tokens -> tokens > 0)
        .ifPresent(tokens -> builder.architecture("MistralForCausalLM").slidingWindow(tokens));
    metadata.integer(KEY_LENGTH).ifPresent(builder::headDim);
    try {
      LlamaConfig config = builder.build();
      checkHeads(config);
      // The frequencies depend on the width of a head, which is known only now.
      builder.headDim(config.headDim()).ropeScaling(scaling(config));
      return builder.build();
    } catch (IllegalArgumentException e) {
      throw new ModelLoadException(
          "%s: the metadata do not make a model: %s".formatted(header.file(), e.getMessage()), e);
    }
  }

  /** Returns the content of a config.json. */
  static JsonObject toJson(LlamaConfig config, Optional<Integer> paddingId) {
    boolean mistral = config.slidingWindow().isPresent();
    JsonArray architectures = new JsonArray();
    architectures.add(config.architecture());
    JsonObject json = new JsonObject();
    json.add("architectures", architectures);
    json.addProperty("model_type", mistral ? "mistral" : "llama");
    json.addProperty("hidden_act", "silu");
    json.addProperty("hidden_size", config.hiddenSize());
    json.addProperty("intermediate_size", config.intermediateSize());
    json.addProperty("num_hidden_layers", config.layers());
    json.addProperty("num_attention_heads", config.heads());
    json.addProperty("num_key_value_heads", config.kvHeads());
    json.addProperty("head_dim", config.headDim());
    json.addProperty("vocab_size", config.vocabularySize());
    json.addProperty("max_position_embeddings", config.maxPositionEmbeddings());
    json.addProperty("rms_norm_eps", config.rmsNormEps());
    json.addProperty("rope_theta", config.ropeTheta());
    json.add(
        "rope_scaling",
        config.ropeScaling().equals(RopeScaling.none())
            ? JsonNull.INSTANCE
            : scalingJson(config.ropeScaling()));
    if (!mistral) {
      json.addProperty("attention_bias", config.attentionBias());
      json.addProperty("mlp_bias", false);
    }
    config.slidingWindow().ifPresent(tokens -> json.addProperty("sliding_window", tokens));
    json.addProperty("tie_word_embeddings", config.tieWordEmbeddings());
    config.bosTokenId().ifPresent(id -> json.addProperty("bos_token_id", id));
    config.eosTokenId().ifPresent(id -> json.addProperty("eos_token_id", id));
    paddingId.ifPresent(id -> json.addProperty("pad_token_id", id));
    config.torchDtype().ifPresent(type -> json.addProperty("torch_dtype", type));
    return json;
  }

  private static JsonObject scalingJson(RopeScaling scaling) {
    JsonObject json = new JsonObject();
    if (scaling instanceof RopeScaling.Linear linear) {
      json.addProperty("rope_type", "linear");
      json.addProperty("factor", linear.factor());
    } else if (scaling instanceof RopeScaling.Llama3 llama3) {
      json.addProperty("rope_type", "llama3");
      json.addProperty("factor", llama3.factor());
      json.addProperty("low_freq_factor", llama3.lowFrequencyFactor());
      json.addProperty("high_freq_factor", llama3.highFrequencyFactor());
      json.addProperty("original_max_position_embeddings", llama3.originalMaxPositions());
    }
    return json;
  }

  private boolean hasAttentionBias() {
    return header.tensors().keySet().stream()
        .anyMatch(name -> name.matches("blk\\.\\d+\\.attn_(q|k|v|output)\\.bias"));
  }

  private void checkHeads(LlamaConfig config) {
    for (String key : List.of(VALUE_LENGTH, ROTARY_LENGTH)) {
      require(
          metadata.integer(key).orElse(config.headDim()) == config.headDim(),
          metadata,
          key,
          "the width of a head, " + config.headDim());
    }
    require(
        !config.attentionBias() || config.slidingWindow().isEmpty(),
        metadata,
        WINDOW,
        "no window in a model whose attention has biases");
  }

  private RopeScaling scaling(LlamaConfig config) {
    RopeScaling scaling = metadataScaling();
    GgufTensor factors = header.tensors().get(ROPE_FACTORS);
    if (factors == null) {
      return scaling;
    }
    if (!scaling.equals(RopeScaling.none())) {
      throw new UnsupportedModelException(
          "%s: both tensor %s and metadata key %s scale the rotary embedding; supported is one of them"
              .formatted(header.file(), Messages.quote(ROPE_FACTORS), Messages.quote(SCALING)));
    }
    return llama3(config, factors);
  }

  private RopeScaling metadataScaling() {
    String type = metadata.string(SCALING).orElse("");
    require(List.of("", "none", "linear").contains(type), metadata, SCALING, "none, linear");
    return switch (type) {
      case "none" -> RopeScaling.none();
      case "linear" -> linear(metadata.requiredNumber(SCALING_FACTOR));
      default -> linear(metadata.number(OLD_SCALING_FACTOR).orElse(1.0));
    };
  }

  private static RopeScaling linear(double factor) {
    return factor == 1 ? RopeScaling.none() : new RopeScaling.Linear(factor);
  }

  /**
   * Finds the llama3 scaling that gives the factors by which a tensor divides the rotary
   * frequencies. The file has only the factors; they are compared with those of the found scaling
   * one by one.
   */
  private RopeScaling llama3(LlamaConfig config, GgufTensor tensor) {
    int pairs = config.headDim() / 2;
    if (!tensor.type().equals(GgufType.F32) || tensor.length() != pairs * 4L) {
      throw new ModelLoadException(
          "%s: tensor %s has %d bytes of type %s; expected %d values of type F32"
              .formatted(
                  header.file(),
                  Messages.quote(ROPE_FACTORS),
                  tensor.length(),
                  tensor.type(),
                  pairs));
    }
    float[] factors = GgufRows.readWhole(header.file(), tensor);
    double largest = 1;
    for (float factor : factors) {
      largest = Math.max(largest, factor);
    }
    int length = metadata.integer(ORIGINAL_LENGTH).orElse(LLAMA3_LENGTH);
    if (matches(factors, config, RopeScaling.none())) {
      return RopeScaling.none();
    }
    if (largest > 1 && Double.isFinite(largest)) {
      RopeScaling scaling = new RopeScaling.Llama3(largest, LLAMA3_LOW, LLAMA3_HIGH, length);
      if (matches(factors, config, scaling)) {
        return scaling;
      }
    }
    throw new UnsupportedModelException(
        "%s: tensor %s has rotary factors of an unknown kind, %s to %s; supported: those of LLaMA 3.1"
            .formatted(
                header.file(),
                Messages.quote(ROPE_FACTORS),
                factors[0],
                factors[factors.length - 1]));
  }

  /** Whether a scaling divides the frequency of each pair of a head by its factor. */
  private static boolean matches(float[] factors, LlamaConfig config, RopeScaling scaling) {
    return IntStream.range(0, factors.length)
        .allMatch(
            pair -> {
              double frequency = Math.pow(config.ropeTheta(), -2.0 * pair / config.headDim());
              double expected = frequency / scaling.scale(frequency);
              return Math.abs(factors[pair] - expected) <= FACTOR_TOLERANCE * expected;
            });
  }
}
