package io.llara.checkpoint;

import io.llara.ModelLoadException;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * Turns the {@code config.json} of a LLaMA or Mistral checkpoint into a {@link LlamaConfig}, with
 * the defaults of the transformers library, and refuses what the forward pass does not do.
 */
final class LlamaConfigReader {
  private static final Set<String> ARCHITECTURES =
      new TreeSet<>(
          Set.of(
              "LlamaForCausalLM",
              "LlamaModel",
              "MistralForCausalLM",
              "MistralModel",
              // LLARA's own pretraining: a LlamaForCausalLM with two more losses.
              "PreLlamaModel"));
  private static final String ROPE_TYPES = "default, linear, llama3";

  /** MistralConfig's own defaults where they differ from LlamaConfig's. */
  private static final int MISTRAL_KV_HEADS = 8;

  private static final int MISTRAL_WINDOW = 4096;
  private static final int MISTRAL_POSITIONS = 4096 * 32;

  private final JsonSection json;

  private LlamaConfigReader(JsonSection json) {
    this.json = json;
  }

  static LlamaConfig read(Path file) {
    JsonSection json = StrictJson.modelFile(file);
    try {
      return new LlamaConfigReader(json).read();
    } catch (IllegalArgumentException e) {
      // The records check values; the file is known only here.
      throw new ModelLoadException("%s: %s".formatted(file, e.getMessage()), e);
    }
  }

  private LlamaConfig read() {
    String architecture = architecture();
    boolean mistral = architecture.startsWith("Mistral");
    refuseUnsupported();
    LlamaConfig.Builder builder =
        LlamaConfig.builder()
            .architecture(architecture)
            .hiddenSize(json.requiredInt("hidden_size"))
            .intermediateSize(json.requiredInt("intermediate_size"))
            .layers(json.requiredInt("num_hidden_layers"))
            .heads(json.requiredInt("num_attention_heads"))
            .vocabularySize(json.requiredInt("vocab_size"))
            .eosTokenIds(json.integers("eos_token_id"));
    json.integer("num_key_value_heads").ifPresent(builder::kvHeads);
    json.integer("head_dim").ifPresent(builder::headDim);
    json.number("rms_norm_eps").ifPresent(builder::rmsNormEps);
    json.bool("tie_word_embeddings").ifPresent(builder::tieWordEmbeddings);
    json.bool("attention_bias").ifPresent(builder::attentionBias);
    json.bool("is_causal").ifPresent(builder::causal);
    json.integer("sliding_window").ifPresent(builder::slidingWindow);
    json.integer("bos_token_id").ifPresent(builder::bosTokenId);
    json.string(json.has("dtype") ? "dtype" : "torch_dtype").ifPresent(builder::torchDtype);
    builder.maxPositionEmbeddings(
        json.integer("max_position_embeddings").orElse(mistral ? MISTRAL_POSITIONS : 2048));
    if (mistral) {
      // Absent means the default there, null means none.
      if (!json.mentions("sliding_window")) {
        builder.slidingWindow(MISTRAL_WINDOW);
      }
      if (!json.mentions("num_key_value_heads")) {
        builder.kvHeads(MISTRAL_KV_HEADS);
      }
    }
    rotary(builder);
    return builder.build();
  }

  private String architecture() {
    List<String> architectures = json.strings("architectures").orElse(List.of());
    String supported = String.join(", ", ARCHITECTURES);
    for (String name : architectures) {
      if (ARCHITECTURES.contains(name)) {
        return name;
      }
    }
    if (!architectures.isEmpty()) {
      throw json.unsupported(
          "architectures", Messages.quote(String.join(", ", architectures)), supported);
    }
    String type =
        json.string("model_type").orElseThrow(() -> json.missing("architectures", supported));
    return switch (type) {
      case "llama" -> "LlamaModel";
      case "mistral" -> "MistralModel";
      default -> throw json.unsupported("model_type", Messages.quote(type), "llama, mistral");
    };
  }

  private void refuseUnsupported() {
    String activation = json.string("hidden_act").orElse("silu");
    if (!activation.equals("silu") && !activation.equals("swish")) {
      throw json.unsupported("hidden_act", Messages.quote(activation), "silu");
    }
    if (json.bool("mlp_bias").orElse(false)) {
      throw json.unsupported("mlp_bias", "true", "false");
    }
    if (json.has("auto_map")) {
      throw json.unsupported(
          "auto_map", json.describe("auto_map"), "models without Python code of their own");
    }
    for (String type : json.strings("layer_types").orElse(List.of())) {
      if (!type.equals("full_attention")) {
        throw json.unsupported(
            "layer_types", "a list with " + Messages.quote(type), "full_attention");
      }
    }
    refusePartialRotary(json);
  }

  private static void refusePartialRotary(JsonSection section) {
    double part = section.number("partial_rotary_factor").orElse(1.0);
    if (part != 1.0) {
      throw section.unsupported("partial_rotary_factor", Double.toString(part), "1");
    }
  }

  /**
   * The scaling and base of the rotary embedding, in the old spelling or that of transformers 5.
   */
  private void rotary(LlamaConfig.Builder builder) {
    Optional<JsonSection> old = json.section("rope_scaling");
    Optional<JsonSection> parameters = json.section("rope_parameters");
    Optional<Double> theta = json.number("rope_theta");
    Optional<RopeScaling> scaling = old.map(section -> scaling(section, Optional.empty()));
    if (parameters.isPresent()) {
      JsonSection section = parameters.get();
      refusePartialRotary(section);
      RopeScaling newer = scaling(section, Optional.of("default"));
      if (scaling.isPresent() && !scaling.get().equals(newer)) {
        throw json.invalid("rope_parameters", newer.toString(), "what rope_scaling says");
      }
      scaling = Optional.of(newer);
      theta = section.number("rope_theta").or(() -> json.number("rope_theta"));
    }
    theta.ifPresent(builder::ropeTheta);
    scaling.ifPresent(builder::ropeScaling);
  }

  private static RopeScaling scaling(JsonSection section, Optional<String> defaultType) {
    String key =
        section.has("rope_type") ? "rope_type" : section.has("type") ? "type" : "rope_type";
    String type =
        section
            .string(key)
            .or(() -> defaultType)
            .orElseThrow(() -> section.missing(key, ROPE_TYPES));
    return switch (type) {
      case "default" -> RopeScaling.none();
      case "linear" -> new RopeScaling.Linear(section.requiredNumber("factor"));
      case "llama3" ->
          new RopeScaling.Llama3(
              section.requiredNumber("factor"),
              section.requiredNumber("low_freq_factor"),
              section.requiredNumber("high_freq_factor"),
              section.requiredInt("original_max_position_embeddings"));
      default -> throw section.unsupported(key, Messages.quote(type), ROPE_TYPES);
    };
  }
}
