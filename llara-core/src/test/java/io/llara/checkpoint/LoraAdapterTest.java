package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.within;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LoraAdapterTest {
  private static final String LAYER0 = "base_model.model.model.layers.0.";
  private static final String Q0 = "layers.0.self_attn.q_proj.weight";

  @TempDir Path dir;
  private final LlamaConfig config = Checkpoints.config();

  @BeforeEach
  void adapter() {
    Checkpoints.writeAdapter(dir);
  }

  private void settings(String from, String to) {
    Checkpoints.text(
        dir.resolve("adapter_config.json"),
        Checkpoints.replaced(Checkpoints.ADAPTER_JSON, Map.of(from, to)));
  }

  private void weights(SafetensorsWriter writer) {
    writer.write(dir.resolve("adapter_model.safetensors"));
  }

  private LoraAdapter open() {
    return LoraAdapter.open(dir, config);
  }

  private ModelLoadException refused(LlamaConfig model) {
    ModelLoadException[] caught = new ModelLoadException[1];
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> LoraAdapter.open(dir, model))
        .satisfies(e -> caught[0] = e);
    return caught[0];
  }

  private ModelLoadException refused() {
    return refused(config);
  }

  @Test
  void findsThePairs() {
    LoraAdapter adapter = open();
    assertThat(adapter.path()).isEqualTo(dir);
    assertThat(adapter.replacements()).isEmpty();
    assertThat(adapter.pairs().keySet())
        .containsExactlyInAnyOrder(
            Q0,
            "layers.0.mlp.down_proj.weight",
            "layers.1.self_attn.q_proj.weight",
            "layers.1.mlp.down_proj.weight");
    LoraAdapter.Pair pair = adapter.pairs().get("layers.1.mlp.down_proj.weight");
    assertThat(pair.a().hasShape(2, 12)).isTrue();
    assertThat(pair.b().hasShape(8, 2)).isTrue();
    assertThat(pair.rank()).isEqualTo(2);
    assertThat(pair.scale()).isEqualTo(2);
  }

  @Test
  void readsNamesOfABareModelAndOfAStateDict() {
    SafetensorsWriter writer = new SafetensorsWriter();
    Checkpoints.pair(writer, "base_model.model.layers.0.self_attn.q_proj", 8, 8, 2);
    Checkpoints.add(writer, "layers.1.mlp.down_proj.lora_A.default.weight", 2, 12);
    Checkpoints.add(writer, "layers.1.mlp.down_proj.lora_B.default.weight", 8, 2);
    weights(writer);
    assertThat(open().pairs()).containsOnlyKeys(Q0, "layers.1.mlp.down_proj.weight");
  }

  @Test
  void rsloraDividesByTheRoot() {
    settings("\"use_rslora\": false", "\"use_rslora\": true");
    assertThat(open().pairs().get(Q0).scale()).isEqualTo(4 / Math.sqrt(2), within(1e-15));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "q_proj",
        "self_attn.q_proj",
        "model.layers.0.self_attn.q_proj",
        "^model.layers.0.self_attn.q_proj"
      })
  void patternsNameModulesOrTheirEnds(String name) {
    settings(
        "\"rank_pattern\": {}, \"alpha_pattern\": {}",
        "\"rank_pattern\": {\"%s\": 4}, \"alpha_pattern\": {\"%s\": 3.5}".formatted(name, name));
    SafetensorsWriter writer = new SafetensorsWriter();
    Checkpoints.pair(writer, LAYER0 + "self_attn.q_proj", 8, 8, 4);
    Checkpoints.pair(writer, LAYER0 + "mlp.down_proj", 8, 12, 2);
    weights(writer);
    LoraAdapter adapter = open();
    assertThat(adapter.pairs().get(Q0).rank()).isEqualTo(4);
    assertThat(adapter.pairs().get(Q0).scale()).isEqualTo(3.5 / 4);
    assertThat(adapter.pairs().get("layers.0.mlp.down_proj.weight").scale()).isEqualTo(2);
  }

  @Test
  void aNameIsNotThePartOfAWord() {
    settings("\"rank_pattern\": {}", "\"rank_pattern\": {\"proj\": 4, \"^q_proj\": 4}");
    assertThat(open().pairs().get(Q0).rank()).isEqualTo(2);
  }

  @Test
  void readsWholeModulesThatWereSaved() {
    SafetensorsWriter writer = Checkpoints.adapterWeights();
    Checkpoints.add(writer, "base_model.model.model.embed_tokens.weight", 16, 8);
    Checkpoints.add(writer, "base_model.model.model.norm.modules_to_save.weight", 8);
    Checkpoints.add(writer, "base_model.model.lm_head.modules_to_save.default.weight", 16, 8);
    weights(writer);
    LoraAdapter adapter = open();
    assertThat(adapter.replacements())
        .containsOnlyKeys("embed_tokens.weight", "norm.weight", "lm_head.weight");
    assertThat(adapter.pairs()).hasSize(4);
  }

  @Test
  void aTiedHeadMayOnlyChangeWithItsEmbedding() {
    LlamaConfig tied =
        LlamaConfig.builder()
            .hiddenSize(8)
            .intermediateSize(12)
            .layers(2)
            .heads(2)
            .kvHeads(1)
            .vocabularySize(16)
            .tieWordEmbeddings(true)
            .build();
    SafetensorsWriter writer = Checkpoints.adapterWeights();
    Checkpoints.add(writer, "base_model.model.lm_head.weight", 16, 8);
    weights(writer);
    assertThat(refused(tied))
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("shares with its embedding (tie_word_embeddings)");
    Checkpoints.add(writer, "base_model.model.model.embed_tokens.weight", 16, 8);
    weights(writer);
    assertThat(LoraAdapter.open(dir, tied).replacements()).containsOnlyKeys("embed_tokens.weight");
    SafetensorsWriter pair = new SafetensorsWriter();
    Checkpoints.pair(pair, "base_model.model.lm_head", 16, 8, 2);
    weights(pair);
    assertThat(refused(tied)).isInstanceOf(UnsupportedModelException.class);
    settings("[\"q_proj\", \"down_proj\"]", "[\"lm_head\"]");
    assertThat(open().pairs()).containsOnlyKeys("lm_head.weight");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "\"LORA\";\"IA3\";key 'peft_type' is 'IA3', which is not supported; supported: LORA",
        "\"use_dora\": false;\"use_dora\": true;key 'use_dora' is true",
        "\"use_dora\": false;\"use_qalora\": true;key 'use_qalora' is true",
        "\"use_dora\": false;\"lora_bias\": true;key 'lora_bias' is true",
        "\"fan_in_fan_out\": false;\"fan_in_fan_out\": true;key 'fan_in_fan_out' is true",
        "\"bias\": \"none\";\"bias\": \"all\";key 'bias' is the string 'all'; which is not"
            + " supported",
        "\"use_dora\": false;\"layer_replication\": [[0, 1]];key 'layer_replication' is a list",
        "\"use_dora\": false;\"trainable_token_indices\": [1];key 'trainable_token_indices'",
        "\"init_lora_weights\": true;\"init_lora_weights\": \"pissa_niter_4\";'pissa_niter_4'",
        "\"init_lora_weights\": true;\"init_lora_weights\": \"loftq\";may change the base weights",
        "\"rank_pattern\": {};\"rank_pattern\": {\"(q\": 4};key 'rank_pattern' is a pattern with",
        "\"alpha_pattern\": {};\"alpha_pattern\": {\"(.*)*(.*)*(.*)*(.*)*z\": 4};in short time"
      })
  void refusesOtherKindsByName(String from, String to, String message) {
    settings(from, to);
    assertThat(refused())
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageStartingWith(dir.resolve("adapter_config.json").toString())
        .hasMessageContaining(message.replace("; which", ", which"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "\"peft_type\": \"LORA\",;'';key 'peft_type' is missing; expected LORA",
        "\"r\": 2;\"r\": 0;key 'r' is 0; expected 1 to 65536",
        "\"r\": 2;\"r\": \"2\";key 'r' is the string '2'",
        "\"r\": 2;\"r\": 3;lora_A.weight' has shape [2, 8]",
        "\"r\": 2,;'';key 'r' is missing",
        "\"lora_alpha\": 4,;'';key 'lora_alpha' is missing",
        "\"lora_alpha\": 4;\"lora_alpha\": null;key 'lora_alpha' is missing",
        "\"lora_alpha\": 4;\"lora_alpha\": 1e999;key 'lora_alpha' is 1e999",
        "\"rank_pattern\": {};\"rank_pattern\": {\"q_proj\": -1};key 'rank_pattern.q_proj' is -1",
        "\"rank_pattern\": {};\"rank_pattern\": {\"q_proj\": 1.5};key 'rank_pattern.q_proj' is 1.5",
        "\"rank_pattern\": {};\"rank_pattern\": [];key 'rank_pattern' is a list",
        "\"alpha_pattern\": {};\"alpha_pattern\": {\"q_proj\": \"1\"};'alpha_pattern.q_proj'",
        "[\"q_proj\", \"down_proj\"];[\"k_proj\"];'target_modules' is a list with 'k_proj'",
        "[\"q_proj\", \"down_proj\"];[3];key 'target_modules[0]' is 3"
      })
  void namesAWrongSetting(String from, String to, String message) {
    settings(from, to);
    assertThat(refused()).hasMessageContaining(message);
  }

  @Test
  void aPatternOfTargetsIsLeftToTheTensors() {
    settings("[\"q_proj\", \"down_proj\"]", "\".*_proj\"");
    assertThat(open().pairs()).hasSize(4);
  }

  @Test
  void namesAFactorWithoutItsOther() {
    SafetensorsWriter writer = Checkpoints.adapterWeights();
    Checkpoints.add(writer, LAYER0 + "mlp.up_proj.lora_A.weight", 2, 8);
    weights(writer);
    assertThat(refused()).hasMessageContaining("up_proj.lora_A.weight' has no lora_B beside it");
    writer = Checkpoints.adapterWeights();
    Checkpoints.add(writer, LAYER0 + "mlp.up_proj.lora_B.weight", 12, 2);
    weights(writer);
    assertThat(refused()).hasMessageContaining("up_proj.lora_B.weight' has no lora_A beside it");
  }

  @Test
  void namesAFactorOfTheWrongShape() {
    SafetensorsWriter writer = Checkpoints.adapterWeights();
    Checkpoints.pair(writer, LAYER0 + "self_attn.k_proj", 8, 8, 2);
    weights(writer);
    assertThat(refused())
        .hasMessageContaining("k_proj.lora_B.weight' has shape [8, 2]; config.json expects [4, 2]");
  }

  @Test
  void namesAModuleTheModelDoesNotHave() {
    SafetensorsWriter writer = Checkpoints.adapterWeights();
    Checkpoints.pair(writer, "base_model.model.model.layers.2.mlp.up_proj", 12, 8, 2);
    weights(writer);
    assertThat(refused())
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("belongs to 'layers.2.mlp.up_proj.weight', which a")
        .hasMessageContaining("of 2 layers does not have");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.other.weight"
      })
  void refusesOtherTensorsOfLoraByName(String name) {
    SafetensorsWriter writer = Checkpoints.adapterWeights();
    Checkpoints.add(writer, name, 8);
    weights(writer);
    assertThat(refused())
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("tensor '" + name + "': supported: lora_A.weight and lora_B.weight");
  }

  @Test
  void refusesNormsAndEmbeddingsAsLinearLayers() {
    for (String module : new String[] {"norm", "embed_tokens"}) {
      SafetensorsWriter writer = Checkpoints.adapterWeights();
      Checkpoints.pair(writer, "base_model.model.model." + module, 16, 8, 2);
      weights(writer);
      assertThat(refused())
          .hasMessageContaining("adapts " + module + ".weight; expected the weight of a linear");
    }
  }

  @Test
  void refusesAWeightBothReplacedAndAdapted() {
    SafetensorsWriter writer = Checkpoints.adapterWeights();
    Checkpoints.add(writer, LAYER0 + "self_attn.q_proj.weight", 8, 8);
    weights(writer);
    assertThat(refused()).hasMessageContaining("replaces a weight that a lora_A and lora_B adapt");
  }

  @Test
  void refusesASavedModuleOfTheWrongShapeOrTwice() {
    SafetensorsWriter writer = Checkpoints.adapterWeights();
    Checkpoints.add(writer, "base_model.model.model.embed_tokens.weight", 18, 8);
    weights(writer);
    assertThat(refused()).hasMessageContaining("has shape [18, 8]; config.json expects [16, 8]");
    writer = Checkpoints.adapterWeights();
    Checkpoints.add(writer, "base_model.model.model.norm.weight", 8);
    Checkpoints.add(writer, "base_model.model.norm.weight", 8);
    weights(writer);
    assertThat(refused())
        .hasMessageContaining("'norm.weight' occurs twice under different names")
        .hasMessageContaining("different content");
  }

  @Test
  void refusesAnAdapterWithoutTensors() {
    weights(new SafetensorsWriter());
    assertThat(refused()).hasMessageContaining("adapter_model.safetensors: holds no tensors");
  }

  @Test
  void namesMissingFiles(@TempDir Path empty) {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> LoraAdapter.open(empty.resolve("nix"), config))
        .withMessageContaining("nix: does not exist; expected the directory of an adapter");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> LoraAdapter.open(empty, config))
        .withMessageContaining("adapter_config.json: cannot be read: no such file");
    Checkpoints.text(empty.resolve("adapter_config.json"), Checkpoints.ADAPTER_JSON);
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> LoraAdapter.open(empty, config))
        .withMessageContaining("adapter_model.safetensors: cannot be read: no such file");
    Checkpoints.text(empty.resolve("adapter_model.bin"), "");
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> LoraAdapter.open(empty, config))
        .withMessageContaining("adapter_model.bin is not read");
  }
}
