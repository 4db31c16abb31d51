package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import com.google.gson.JsonObject;
import io.llara.Encoder;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointDirectoryTest {
  private static final UnaryOperator<String> WITH_PREFIX = name -> "model." + name;

  @TempDir Path dir;

  private Path weightFile() {
    return dir.resolve("model.safetensors");
  }

  private void config() {
    Checkpoints.text(dir.resolve("config.json"), Checkpoints.CONFIG_JSON);
  }

  private void config(String from, String to) {
    Checkpoints.text(
        dir.resolve("config.json"),
        Checkpoints.replaced(Checkpoints.CONFIG_JSON, Map.of(from, to)));
  }

  private ModelLoadException refused() {
    ModelLoadException[] caught = new ModelLoadException[1];
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> CheckpointDirectory.open(dir))
        .satisfies(e -> caught[0] = e);
    return caught[0];
  }

  @Test
  void namesAreTheSameWithAndWithoutPrefix() {
    config();
    Checkpoints.weights(Checkpoints.config(), WITH_PREFIX).write(weightFile());
    CheckpointDirectory prefixed = CheckpointDirectory.open(dir);
    Checkpoints.weights(Checkpoints.config(), name -> name).write(weightFile());
    CheckpointDirectory bare = CheckpointDirectory.open(dir);
    assertThat(prefixed.tensors().keySet())
        .containsExactlyElementsOf(LlamaTensors.required(Checkpoints.config()).keySet());
    assertThat(bare.tensors().keySet()).containsExactlyElementsOf(prefixed.tensors().keySet());
    assertThat(bare.tensors())
        .allSatisfy((name, entry) -> assertThat(entry.name()).isEqualTo(name));
    assertThat(bare.weightFiles()).containsExactly(weightFile());
    assertThat(bare.path()).isEqualTo(dir);
    assertThat(bare.llaraJson()).isEmpty();
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> bare.tensor(LlamaTensors.HEAD))
        .withMessageContaining("tensor 'lm_head.weight' is missing from the checkpoint");
  }

  @Test
  void hasTheHeadUnlessItIsTied() {
    Checkpoints.write(dir);
    assertThat(CheckpointDirectory.open(dir).tensor(LlamaTensors.HEAD).hasShape(16, 8)).isTrue();
    config("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    assertThat(CheckpointDirectory.open(dir).tensors()).doesNotContainKey(LlamaTensors.HEAD);
  }

  @Test
  void readsItsSettings() {
    Checkpoints.write(dir);
    Checkpoints.text(
        dir.resolve("llara.json"), "{\"formatVersion\": 1, \"template\": \"llara-paper\"}");
    assertThat(CheckpointDirectory.open(dir).llaraJson().orElseThrow().template().name())
        .isEqualTo("llara-paper");
  }

  @Test
  void ignoresStoredRotaryFrequencies() {
    config();
    SafetensorsWriter writer = Checkpoints.weights(Checkpoints.config(), WITH_PREFIX);
    Checkpoints.add(writer, "model.layers.0.self_attn.rotary_emb.inv_freq", 2);
    writer.write(weightFile());
    assertThat(CheckpointDirectory.open(dir).tensors()).hasSize(20);
  }

  @Test
  void namesAMissingDirectory() throws IOException {
    Path nowhere = dir.resolve("nowhere");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> CheckpointDirectory.open(nowhere))
        .withMessage(nowhere + ": does not exist; expected the directory of a checkpoint");
    Files.writeString(nowhere, "");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> CheckpointDirectory.open(nowhere))
        .withMessage(nowhere + ": is not a directory; expected the directory of a checkpoint");
  }

  @Test
  void saysWhatToDoWithAGgufFileAndTheNameOfAModelOnTheHub() throws IOException {
    Path gguf = Files.writeString(dir.resolve("model.gguf"), "GGUF");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> CheckpointDirectory.open(gguf))
        .withMessage(
            gguf
                + ": is not a directory; expected the directory of a checkpoint: an Encoder opens a"
                + " GGUF file itself; for all else 'llara import FILE DIR', or GgufImporter, makes"
                + " a directory of it");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> Encoder.load(Path.of("BAAI", "LLARA-passage")))
        .withMessageContaining("LLARA-passage: does not exist; expected the directory")
        .withMessageContaining("ModelSource.hub(\"BAAI/LLARA-passage\") downloads a model");
    assertThat(refused()).hasMessageContaining("config.json: cannot be read");
    config();
    assertThat(refused())
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("model.gguf")
        .hasMessageContaining("'llara import FILE DIR'");
  }

  @Test
  void namesAMissingConfigAndMissingWeights() {
    assertThat(refused()).hasMessageContaining("config.json: cannot be read: no such file");
    config();
    assertThat(refused())
        .isNotInstanceOf(UnsupportedModelException.class)
        .hasMessageEndingWith(
            "no weights; expected model.safetensors or model.safetensors.index.json");
  }

  @ParameterizedTest
  @ValueSource(strings = {"pytorch_model.bin", "model.gguf", "consolidated.00.pth"})
  void refusesOtherFormsOfWeightsByName(String name) {
    config();
    Checkpoints.text(dir.resolve(name), "");
    assertThat(refused())
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("weights in the form of " + name + " are not read")
        .hasMessageEndingWith("expected model.safetensors or model.safetensors.index.json");
  }

  @Test
  void namesWeightsUnderAnotherName() {
    config();
    Checkpoints.text(dir.resolve("weights.safetensors"), "");
    assertThat(refused()).hasMessageContaining("weights are in weights.safetensors");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "\"hidden_size\": 8;\"hidden_size\": 16;'embed_tokens.weight' has shape [16, 8]",
        "\"vocab_size\": 16;\"vocab_size\": 17;'embed_tokens.weight' has shape [16, 8]",
        "\"intermediate_size\": 12;\"intermediate_size\": 13;'layers.0.mlp.gate_proj.weight'",
        "\"num_key_value_heads\": 1;\"num_key_value_heads\": 2;'layers.0.self_attn.k_proj.weight'",
        "\"num_hidden_layers\": 2;\"num_hidden_layers\": 3;'layers.2.input_layernorm.weight'",
        "\"num_hidden_layers\": 2;\"num_hidden_layers\": 1;'layers.1.input_layernorm.weight'",
        "\"hidden_act\": \"silu\";\"attention_bias\": true;'layers.0.self_attn.q_proj.bias'"
      })
  void refusesWeightsThatDoNotFitTheConfig(String from, String to, String message) {
    Checkpoints.write(dir);
    config(from, to);
    assertThat(refused()).hasMessageContaining(message);
  }

  @Test
  void saysWhichShapeWasExpected() {
    Checkpoints.write(dir);
    config("\"vocab_size\": 16", "\"vocab_size\": 17");
    assertThat(refused())
        .hasMessage(
            weightFile()
                + ": tensor 'embed_tokens.weight' has shape [16, 8]; config.json expects [17, 8]");
  }

  @Test
  void refusesATypeThatIsNoWeight() {
    config();
    SafetensorsWriter writer = new SafetensorsWriter();
    LlamaTensors.required(Checkpoints.config())
        .forEach(
            (name, shape) ->
                writer.add(
                    name,
                    StorageType.I8,
                    shape,
                    out ->
                        out.write(
                            ByteBuffer.allocate(
                                (int) TensorEntry.byteLength(shape, StorageType.I8)))));
    writer.write(weightFile());
    assertThat(refused())
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageEndingWith(
            "tensor 'embed_tokens.weight' has type I8; supported: F32, F16, BF16");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"model.layers.0.self_attn.q_norm.weight", "score.weight", "model.layers.00.x"})
  void refusesATensorItWouldIgnore(String name) {
    config();
    SafetensorsWriter writer = Checkpoints.weights(Checkpoints.config(), WITH_PREFIX);
    Checkpoints.add(writer, name, 4);
    writer.write(weightFile());
    assertThat(refused())
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("has no place in a LlamaForCausalLM of 2 layers");
  }

  @Test
  void refusesOneTensorUnderTwoNames() {
    config();
    SafetensorsWriter writer = Checkpoints.weights(Checkpoints.config(), WITH_PREFIX);
    Checkpoints.add(writer, "norm.weight", 8);
    writer.write(weightFile());
    assertThat(refused())
        .hasMessageContaining("tensor 'norm.weight' is already in model.safetensors");
  }

  /** Writes layer 1 into a second shard, everything else into the first. */
  private Map<String, String> shards() {
    config();
    SafetensorsWriter[] writers = {new SafetensorsWriter(), new SafetensorsWriter()};
    Map<String, String> index = new TreeMap<>();
    LlamaTensors.required(Checkpoints.config())
        .forEach(
            (name, shape) -> {
              int shard = name.startsWith("layers.1.") ? 1 : 0;
              Checkpoints.add(writers[shard], "model." + name, shape);
              index.put("model." + name, shardName(shard));
            });
    writers[0].write(dir.resolve(shardName(0)));
    writers[1].write(dir.resolve(shardName(1)));
    return index;
  }

  private static String shardName(int shard) {
    return "model-0000%d-of-00002.safetensors".formatted(shard + 1);
  }

  private void index(Map<String, String> weightMap) {
    JsonObject map = new JsonObject();
    weightMap.forEach(map::addProperty);
    Checkpoints.text(
        dir.resolve("model.safetensors.index.json"),
        "{\"metadata\": {\"total_size\": 1}, \"weight_map\": " + map + "}");
  }

  @Test
  void readsShards() {
    index(shards());
    CheckpointDirectory checkpoint = CheckpointDirectory.open(dir);
    assertThat(checkpoint.tensors()).hasSize(20);
    assertThat(checkpoint.weightFiles())
        .containsExactlyInAnyOrder(dir.resolve(shardName(0)), dir.resolve(shardName(1)));
    assertThat(checkpoint.tensor("layers.1.mlp.up_proj.weight").file())
        .isEqualTo(dir.resolve(shardName(1)));
  }

  @Test
  void namesAMissingShard() throws IOException {
    index(shards());
    Files.delete(dir.resolve(shardName(1)));
    assertThat(refused()).hasMessageContaining(shardName(1) + ": cannot be read: no such file");
  }

  @Test
  void namesATensorTheShardDoesNotHold() {
    Map<String, String> index = shards();
    index.put("model.norm.weight", shardName(1));
    index(index);
    assertThat(refused())
        .hasMessageContaining(
            shardName(1)
                + ": has no tensor 'model.norm.weight', which model.safetensors.index.json says");
  }

  @Test
  void refusesATensorInTwoShards() {
    Map<String, String> index = shards();
    SafetensorsWriter writer = new SafetensorsWriter();
    Checkpoints.add(writer, "model.norm.weight", 8);
    Checkpoints.add(writer, "model.extra", 8);
    writer.write(dir.resolve("third.safetensors"));
    index.put("model.extra", "third.safetensors");
    index(index);
    assertThat(refused()).hasMessageContaining("tensor 'model.norm.weight' is already in ");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../x.safetensors",
        "/etc/x.safetensors",
        "a/b.safetensors",
        "a\\b.safetensors",
        "..",
        "",
        ".safetensors",
        "x.safetensors\0",
        "x\0.safetensors",
        "pytorch_model.bin",
        "C:x.safetensors"
      })
  void refusesAShardOutsideTheDirectory(String name) {
    Map<String, String> index = shards();
    index.put("model.norm.weight", name);
    index(index);
    assertThat(refused())
        .hasMessageContaining("index.json: tensor 'model.norm.weight' is listed in ")
        .hasMessageEndingWith("expected the name of a .safetensors file of the same directory");
  }

  @Test
  void refusesADamagedIndex() {
    shards();
    Path index = dir.resolve("model.safetensors.index.json");
    Checkpoints.text(index, "{}");
    assertThat(refused()).hasMessageContaining("key 'weight_map' is missing");
    Checkpoints.text(index, "{\"weight_map\": []}");
    assertThat(refused()).hasMessageContaining("key 'weight_map' is a list; expected an object");
    Checkpoints.text(index, "{\"weight_map\": {\"a\": 3}}");
    assertThat(refused()).hasMessageContaining("key 'weight_map.a' is 3; expected a string");
    Checkpoints.text(index, "{\"weight_map\": {}}");
    assertThat(refused()).hasMessageContaining("tensor 'embed_tokens.weight' of shape [16, 8]");
  }
}
