package io.llara.checkpoint.gguf;

import com.google.gson.JsonArray;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.RopeScaling;
import io.llara.checkpoint.StorageType;
import io.llara.io.Messages;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * The hyper-parameters of a GGUF file of architecture {@code llama}, and the {@code config.json}
 * that says the same. What the forward pass of this library does not do is refused.
 */
final class GgufConfig {
  static final String EMBEDDING = "token_embd.weight";
  static final String HEAD = "output.weight";
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
  private final GgufMetadata metadata;
  private final GgufVocabulary vocabulary;

  GgufConfig(GgufHeader header, GgufVocabulary vocabulary) {
    this.header = header;
    this.metadata = header.metadata();
    this.vocabulary = vocabulary;
  }

  /** Fails unless the file holds a whole model of architecture {@code llama}. */
  static void checkArchitecture(GgufMetadata metadata) {
    String architecture = metadata.requiredString(ARCHITECTURE);
    if (!architecture.equals(LLAMA)) {
      throw metadata.unsupported(ARCHITECTURE, Messages.quote(architecture), Messages.quote(LLAMA));
    }
    metadata
        .string("general.type")
        .filter(type -> !type.equals("model"))
        .ifPresent(
            type -> {
              throw metadata.unsupported("general.type", Messages.quote(type), "'model'");
            });
    refuseAbove(metadata, "split.count", 1, "a model in one file");
    refuseAbove(metadata, PREFIX + "expert_count", 0, "one feed-forward block a layer");
    if (metadata.bool(PREFIX + "use_parallel_residual").orElse(false)) {
      throw metadata.unsupported(PREFIX + "use_parallel_residual", "true", "false");
    }
    if (!metadata.bool(PREFIX + "attention.causal").orElse(true)) {
      throw metadata.unsupported(PREFIX + "attention.causal", "false", "true");
    }
  }

  private static void refuseAbove(GgufMetadata metadata, String key, int most, String supported) {
    int found = metadata.integer(key).orElse(most);
    if (found > most) {
      throw metadata.unsupported(key, Integer.toString(found), supported);
    }
  }

  int blockCount() {
    return metadata.requiredInteger(PREFIX + "block_count");
  }

  /**
   * Returns the hyper-parameters.
   *
   * @param layers how many layers to say there are
   * @param type the type the weights are to be in
   */
  LlamaConfig read(int layers, StorageType type) {
    int hidden = metadata.requiredInteger(PREFIX + "embedding_length");
    int heads = metadata.requiredInteger(HEADS);
    LlamaConfig.Builder builder =
        LlamaConfig.builder()
            .hiddenSize(hidden)
            .intermediateSize(metadata.requiredInteger(PREFIX + "feed_forward_length"))
            .layers(layers)
            .heads(heads)
            .vocabularySize(vocabulary.size())
            .rmsNormEps(
                metadata.number(EPSILON).orElseThrow(() -> metadata.missing(EPSILON, "a number")))
            .maxPositionEmbeddings(metadata.requiredInteger(PREFIX + "context_length"))
            .tieWordEmbeddings(!header.tensors().containsKey(HEAD))
            .attentionBias(hasAttentionBias())
            .torchDtype(type.torchName());
    metadata.integer(KV_HEADS).ifPresent(builder::kvHeads);
    metadata.number(PREFIX + "rope.freq_base").ifPresent(builder::ropeTheta);
    vocabulary.bosId().ifPresent(builder::bosTokenId);
    vocabulary.eosId().ifPresent(id -> builder.eosTokenIds(List.of(id)));
    metadata
        .integer(WINDOW)
        .filter(tokens -> tokens > 0)
        .ifPresent(tokens -> builder.architecture("MistralForCausalLM").slidingWindow(tokens));
    Optional<Integer> keyLength = metadata.integer(KEY_LENGTH);
    keyLength.ifPresent(builder::headDim);
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
  static JsonObject toJson(LlamaConfig config, OptionalInt paddingId) {
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
    requireHeadDim(VALUE_LENGTH, config);
    requireHeadDim(ROTARY_LENGTH, config);
    if (config.attentionBias() && config.slidingWindow().isPresent()) {
      throw metadata.unsupported(
          WINDOW, metadata.describe(WINDOW), "no window in a model whose attention has biases");
    }
  }

  private void requireHeadDim(String key, LlamaConfig config) {
    int found = metadata.integer(key).orElse(config.headDim());
    if (found != config.headDim()) {
      throw metadata.unsupported(
          key, Integer.toString(found), "the width of a head, " + config.headDim());
    }
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
    Optional<String> type = metadata.string(SCALING);
    if (type.isEmpty()) {
      return linear(metadata.number(OLD_SCALING_FACTOR).orElse(1.0));
    }
    return switch (type.get()) {
      case "none" -> RopeScaling.none();
      case "linear" ->
          linear(
              metadata
                  .number(SCALING_FACTOR)
                  .orElseThrow(() -> metadata.missing(SCALING_FACTOR, "a number")));
      default -> throw metadata.unsupported(SCALING, Messages.quote(type.get()), "none, linear");
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
    boolean plain = true;
    for (float factor : factors) {
      largest = Math.max(largest, factor);
      plain &= factor == 1;
    }
    if (plain) {
      return RopeScaling.none();
    }
    if (largest > 1 && Double.isFinite(largest)) {
      int length = metadata.integer(ORIGINAL_LENGTH).orElse(LLAMA3_LENGTH);
      RopeScaling.Llama3 scaling = new RopeScaling.Llama3(largest, LLAMA3_LOW, LLAMA3_HIGH, length);
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

  private static boolean matches(float[] factors, LlamaConfig config, RopeScaling.Llama3 scaling) {
    for (int pair = 0; pair < factors.length; pair++) {
      double frequency = Math.pow(config.ropeTheta(), -2.0 * pair / config.headDim());
      double expected = factor(2 * Math.PI / frequency, scaling);
      if (!(Math.abs(factors[pair] - expected) <= FACTOR_TOLERANCE * expected)) {
        return false;
      }
    }
    return true;
  }

  /** Returns what llama3 scaling divides a frequency by, given its wavelength in tokens. */
  private static double factor(double wavelength, RopeScaling.Llama3 scaling) {
    double turns = scaling.originalMaxPositions() / wavelength;
    if (turns > scaling.highFrequencyFactor()) {
      return 1;
    }
    if (turns < scaling.lowFrequencyFactor()) {
      return scaling.factor();
    }
    double share =
        (turns - scaling.lowFrequencyFactor())
            / (scaling.highFrequencyFactor() - scaling.lowFrequencyFactor());
    return 1 / ((1 - share) / scaling.factor() + share);
  }
}
