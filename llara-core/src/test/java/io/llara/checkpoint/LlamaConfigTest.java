package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LlamaConfigTest {
  private static final String LLAMA3 =
      "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0,"
          + " \"high_freq_factor\": 4, \"original_max_position_embeddings\": 256}";

  @TempDir Path dir;

  private LlamaConfig read(String json) {
    return LlamaConfig.read(Checkpoints.text(dir.resolve("config.json"), json));
  }

  private LlamaConfig with(String from, String to) {
    return read(Checkpoints.replaced(Checkpoints.CONFIG_JSON, Map.of(from, to)));
  }

  private LlamaConfig plus(String entries) {
    return with("\"rope_scaling\": null,", entries + ",");
  }

  @Test
  void readsEveryValue() {
    LlamaConfig config = read(Checkpoints.CONFIG_JSON);
    assertThat(config)
        .isEqualTo(
            LlamaConfig.builder()
                .architecture("LlamaForCausalLM")
                .hiddenSize(8)
                .intermediateSize(12)
                .layers(2)
                .heads(2)
                .kvHeads(1)
                .headDim(4)
                .vocabularySize(16)
                .rmsNormEps(1e-5)
                .ropeTheta(10_000)
                .maxPositionEmbeddings(64)
                .bosTokenId(1)
                .eosTokenIds(List.of(2))
                .torchDtype("float32")
                .build());
    assertThat(config.queryWidth()).isEqualTo(8);
    assertThat(config.keyValueWidth()).isEqualTo(4);
    assertThat(config.eosTokenId()).hasValue(2);
  }

  @Test
  void takesTheDefaultsOfTransformers() {
    LlamaConfig config =
        read(
            """
            {"model_type": "llama", "hidden_size": 8, "intermediate_size": 12,
             "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 16,
             "num_key_value_heads": null, "head_dim": null, "eos_token_id": null}
            """);
    assertThat(config.architecture()).isEqualTo("LlamaModel");
    assertThat(config.kvHeads()).isEqualTo(2);
    assertThat(config.headDim()).isEqualTo(4);
    assertThat(config.rmsNormEps()).isEqualTo(1e-6);
    assertThat(config.ropeTheta()).isEqualTo(10_000);
    assertThat(config.ropeScaling()).isEqualTo(RopeScaling.none());
    assertThat(config.slidingWindow()).isEmpty();
    assertThat(config.maxPositionEmbeddings()).isEqualTo(2048);
    assertThat(config.tieWordEmbeddings()).isFalse();
    assertThat(config.eosTokenId()).isEmpty();
    assertThat(config.torchDtype()).isEmpty();
  }

  @Test
  void readsMistralWithItsOwnDefaults() {
    String mistral =
        """
        {"architectures": ["MistralForCausalLM"], "hidden_size": 16, "intermediate_size": 12,
         "num_hidden_layers": 2, "num_attention_heads": 8, "vocab_size": 16, %s "dtype": "bfloat16"}
        """;
    LlamaConfig silent = read(mistral.formatted(""));
    assertThat(silent.slidingWindow()).hasValue(4096);
    assertThat(silent.kvHeads()).isEqualTo(8);
    assertThat(silent.maxPositionEmbeddings()).isEqualTo(131_072);
    assertThat(silent.torchDtype()).contains("bfloat16");
    assertThat(read(mistral.formatted("\"sliding_window\": null,")).slidingWindow()).isEmpty();
    assertThat(read(mistral.formatted("\"sliding_window\": 7,")).slidingWindow()).hasValue(7);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "LlamaForCausalLM",
        "LlamaModel",
        "MistralForCausalLM",
        "MistralModel",
        "PreLlamaModel"
      })
  void readsTheseArchitectures(String name) {
    assertThat(with("LlamaForCausalLM", name).architecture()).isEqualTo(name);
  }

  @Test
  void refusesOtherArchitecturesByName() {
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> with("LlamaForCausalLM", "Qwen2ForCausalLM"))
        .withMessageContaining("config.json: key 'architectures' is 'Qwen2ForCausalLM'")
        .withMessageEndingWith(
            "supported: LlamaForCausalLM, LlamaModel, MistralForCausalLM, MistralModel, PreLlamaModel");
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> read("{\"model_type\": \"gemma\"}"))
        .withMessageContaining("key 'model_type' is 'gemma'")
        .withMessageEndingWith("supported: llama, mistral");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> read("{}"))
        .withMessageContaining("key 'architectures' is missing");
  }

  @Test
  void readsOldAndNewSpellingsOfTheRotaryScaling() {
    RopeScaling llama3 = new RopeScaling.Llama3(8, 1, 4, 256);
    RopeScaling linear = new RopeScaling.Linear(2.5);
    assertThat(plus("\"rope_scaling\": " + LLAMA3).ropeScaling()).isEqualTo(llama3);
    assertThat(plus("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.5}").ropeScaling())
        .isEqualTo(linear);
    assertThat(plus("\"rope_scaling\": {\"rope_type\": \"default\"}").ropeScaling())
        .isEqualTo(RopeScaling.none());
    LlamaConfig newer = plus("\"rope_parameters\": {\"rope_theta\": 5e5, " + LLAMA3.substring(1));
    assertThat(newer.ropeScaling()).isEqualTo(llama3);
    assertThat(newer.ropeTheta()).isEqualTo(500_000);
    LlamaConfig plain = plus("\"rope_parameters\": {\"partial_rotary_factor\": 1.0}");
    assertThat(plain.ropeScaling()).isEqualTo(RopeScaling.none());
    assertThat(plain.ropeTheta()).isEqualTo(10_000);
  }

  @ParameterizedTest
  @ValueSource(strings = {"dynamic", "yarn", "longrope", "su", "proportional"})
  void refusesOtherRotaryScalingsByName(String type) {
    for (String key : new String[] {"type", "rope_type"}) {
      assertThatExceptionOfType(UnsupportedModelException.class)
          .isThrownBy(
              () ->
                  plus("\"rope_scaling\": {\"%s\": \"%s\", \"factor\": 2.0}".formatted(key, type)))
          .withMessageContaining("key 'rope_scaling.%s' is '%s'".formatted(key, type))
          .withMessageEndingWith("supported: default, linear, llama3");
    }
  }

  @Test
  void refusesDamagedRotaryScalings() {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> plus("\"rope_scaling\": {\"factor\": 2.0}"))
        .withMessageContaining("key 'rope_scaling.rope_type' is missing");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> plus("\"rope_scaling\": {\"type\": \"linear\"}"))
        .withMessageContaining("key 'rope_scaling.factor' is missing");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> plus("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}"))
        .withMessageContaining("config.json: factor is 0.0; expected a finite number above 0");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> plus("\"rope_scaling\": " + LLAMA3.replace("1.0", "4.0")))
        .withMessageContaining("low_freq_factor is 4.0 and high_freq_factor 4.0");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> plus("\"rope_scaling\": " + LLAMA3.replace("256", "0")))
        .withMessageContaining("original_max_position_embeddings is 0");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(
            () ->
                plus(
                    "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2},"
                        + " \"rope_parameters\": {\"rope_type\": \"default\"}"))
        .withMessageContaining("key 'rope_parameters' is None[]; expected what rope_scaling says");
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> plus("\"rope_parameters\": {\"partial_rotary_factor\": 0.5}"))
        .withMessageContaining("key 'rope_parameters.partial_rotary_factor' is 0.5");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "\"hidden_size\": 8;\"hidden_size\": 0;hidden_size is 0; expected 1 to 1048576",
        "\"hidden_size\": 8;\"hidden_size\": 7;hidden_size is 7",
        "\"hidden_size\": 8;\"hidden_size\": 6;head_dim is 3",
        "\"hidden_size\": 8,;;key 'hidden_size' is missing",
        "\"hidden_size\": 8;\"hidden_size\": \"8\";key 'hidden_size' is the string '8'",
        "\"hidden_size\": 8;\"hidden_size\": 1048578;hidden_size is 1048578",
        "\"intermediate_size\": 12;\"intermediate_size\": -1;intermediate_size is -1",
        "\"num_hidden_layers\": 2;\"num_hidden_layers\": 1025;num_hidden_layers is 1025",
        "\"num_hidden_layers\": 2;\"num_hidden_layers\": 2000000000;num_hidden_layers is 2",
        "\"num_attention_heads\": 2;\"num_attention_heads\": 0;num_attention_heads is 0",
        "\"num_key_value_heads\": 1;\"num_key_value_heads\": 0;num_key_value_heads is 0",
        "\"num_key_value_heads\": 1;\"num_key_value_heads\": 3;num_attention_heads is 2",
        "\"vocab_size\": 16;\"vocab_size\": 16777217;vocab_size is 16777217",
        "\"rms_norm_eps\": 1e-5;\"rms_norm_eps\": 0;rms_norm_eps is 0.0",
        "\"rms_norm_eps\": 1e-5;\"rms_norm_eps\": -1e-5;rms_norm_eps is -1.0E-5",
        "\"rms_norm_eps\": 1e-5;\"rms_norm_eps\": 1e999;key 'rms_norm_eps' is 1e999",
        "\"rms_norm_eps\": 1e-5;\"rms_norm_eps\": NaN;is not valid JSON",
        "\"rms_norm_eps\": 1e-5;\"rms_norm_eps\": \"1e-5\";key 'rms_norm_eps' is the string",
        "\"rope_theta\": 10000.0;\"rope_theta\": 0;rope_theta is 0.0",
        "\"rope_theta\": 10000.0;\"rope_theta\": [];key 'rope_theta' is a list",
        "\"rope_scaling\": null;\"rope_scaling\": 3;key 'rope_scaling' is 3",
        "\"rope_scaling\": null;\"head_dim\": 3;head_dim is 3; the rotary embedding needs an even",
        "\"rope_scaling\": null;\"head_dim\": 0;head_dim is 0",
        "\"rope_scaling\": null;\"head_dim\": 1048576;num_attention_heads times head_dim is",
        "\"rope_scaling\": null;\"sliding_window\": 0;sliding_window is 0",
        "\"rope_scaling\": null;\"attention_bias\": 1;key 'attention_bias' is 1",
        "\"bos_token_id\": 1;\"bos_token_id\": -1;bos_token_id is -1",
        "\"eos_token_id\": 2;\"eos_token_id\": [2, -3];eos_token_id is -3",
        "\"eos_token_id\": 2;\"eos_token_id\": [2, null];key 'eos_token_id[1]' is null",
        "\"max_position_embeddings\": 64;\"max_position_embeddings\": 0;max_position_embeddings",
        "\"tie_word_embeddings\": false;\"tie_word_embeddings\": null, \"vocab_size\": 1;twice",
        "[\"LlamaForCausalLM\"];\"LlamaForCausalLM\";key 'architectures' is the string",
        "[\"LlamaForCausalLM\"];[null];key 'architectures[0]' is null",
        "\"float32\";4;key 'torch_dtype' is 4"
      })
  void namesAWrongValue(String from, String to, String message) {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> with(from, to == null ? "" : to))
        .withMessageStartingWith(dir.resolve("config.json").toString())
        .withMessageContaining(message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "\"auto_map\": {\"AutoModel\": \"modeling_x.X\"};key 'auto_map' is an object, which is not",
        "\"layer_types\": [\"full_attention\", \"sliding_attention\"];with 'sliding_attention'",
        "\"mlp_bias\": true;key 'mlp_bias' is true, which is not supported",
        "\"partial_rotary_factor\": 0.25;key 'partial_rotary_factor' is 0.25"
      })
  void refusesWhatTheForwardPassDoesNotDo(String entry, String message) {
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> plus(entry))
        .withMessageContaining(message);
  }

  @Test
  void refusesOtherActivationsByName() {
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> with("silu", "gelu"))
        .withMessageEndingWith(
            "key 'hidden_act' is 'gelu', which is not supported; supported: silu");
    assertThat(with("silu", "swish")).isNotNull();
  }

  @Test
  void ignoresWhatChangesNothing() {
    assertThat(
            plus("\"layer_types\": [\"full_attention\"], \"is_causal\": true, \"auto_map\": null"))
        .isEqualTo(read(Checkpoints.CONFIG_JSON));
    assertThat(plus("\"is_causal\": false").causal()).isFalse();
    assertThat(plus("\"pretraining_tp\": 2, \"use_cache\": false, \"quantization_config\": null"))
        .isEqualTo(read(Checkpoints.CONFIG_JSON));
  }

  @Test
  void readsAttentionBiasTiesAndSeveralEnds() {
    LlamaConfig config =
        read(
            Checkpoints.replaced(
                Checkpoints.CONFIG_JSON,
                Map.of(
                    "\"tie_word_embeddings\": false",
                    "\"tie_word_embeddings\": true, \"attention_bias\": true",
                    "\"eos_token_id\": 2",
                    "\"eos_token_id\": [5, 6]")));
    assertThat(config.attentionBias()).isTrue();
    assertThat(config.tieWordEmbeddings()).isTrue();
    assertThat(config.eosTokenIds()).containsExactly(5, 6);
    assertThat(config.eosTokenId()).hasValue(5);
    assertThat(LlamaTensors.required(config).get("layers.1.self_attn.k_proj.bias"))
        .containsExactly(4);
  }

  @Test
  void headsNeedNotFillTheHiddenState() {
    LlamaConfig config = plus("\"head_dim\": 10");
    assertThat(LlamaTensors.required(config).get("layers.0.self_attn.q_proj.weight"))
        .containsExactly(20, 8);
    assertThat(LlamaTensors.required(config).get("layers.0.self_attn.o_proj.weight"))
        .containsExactly(8, 20);
  }
}
