package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelFingerprintTest {
  private static final int VOCABULARY = 1 << 20;
  private static final int HIDDEN = 32;

  @TempDir private Path folder;

  /** Weights of more than 64 MB, so that their hash is looked up; the notes never mislead. */
  @Test
  void noticesEveryChange() throws IOException {
    Path model = model();
    Path notes = folder.resolve("notes");
    ModelFingerprint noted = new ModelFingerprint(Optional.of(notes));
    ModelFingerprint plain = new ModelFingerprint(Optional.empty());

    String first = noted.of(model, Optional.empty());
    assertThat(noted.of(model, Optional.empty())).isEqualTo(first);
    assertThat(plain.of(model, Optional.empty())).isEqualTo(first);

    Path weights = model.resolve("model.safetensors");
    FileTime modified = Files.getLastModifiedTime(weights);
    flipLastByte(weights);
    // As a tool that restores times would leave it.
    Files.setLastModifiedTime(weights, modified);
    String second = noted.of(model, Optional.empty());
    assertThat(second).isNotEqualTo(first);
    assertThat(plain.of(model, Optional.empty())).isEqualTo(second);

    Files.writeString(
        model.resolve("llara.json"), "{\"formatVersion\": 1, \"template\": \"llara-paper\"}");
    assertThat(noted.of(model, Optional.empty())).isNotEqualTo(second);
  }

  @Test
  void anAdapterCounts() throws IOException {
    Path model = model();
    Path adapter = Files.createDirectory(folder.resolve("adapter"));
    Files.writeString(adapter.resolve("adapter_config.json"), "{}");
    ModelFingerprint fingerprint = new ModelFingerprint(Optional.empty());
    String without = fingerprint.of(model, Optional.empty());
    String with = fingerprint.of(model, Optional.of(adapter));
    assertThat(with).isNotEqualTo(without);
    Files.writeString(adapter.resolve("adapter_config.json"), "{ }");
    assertThat(fingerprint.of(model, Optional.of(adapter))).isNotIn(without, with);
  }

  @Test
  void modulesBehindTheModelCount() throws IOException {
    Path model = model();
    ModelFingerprint fingerprint = new ModelFingerprint(Optional.empty());
    String without = fingerprint.of(model, Optional.empty());
    Path pooling = Files.createDirectory(model.resolve("1_Pooling")).resolve("config.json");
    Files.writeString(pooling, "{\"pooling_mode_mean_tokens\": true}");
    String mean = fingerprint.of(model, Optional.empty());
    Files.writeString(pooling, "{\"pooling_mode_lasttoken\": true}");
    String last = fingerprint.of(model, Optional.empty());
    Files.write(
        Files.createDirectory(model.resolve("2_Dense")).resolve("model.safetensors"), new byte[8]);
    String dense = fingerprint.of(model, Optional.empty());
    assertThat(List.of(without, mean, last, dense)).doesNotHaveDuplicates();
  }

  private static void flipLastByte(Path file) throws IOException {
    try (SeekableByteChannel channel =
        Files.newByteChannel(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      ByteBuffer last = ByteBuffer.allocate(1);
      channel.position(channel.size() - 1).read(last);
      last.flip();
      last.put(0, (byte) (last.get(0) ^ 1));
      channel.position(channel.size() - 1).write(last);
    }
  }

  /** A checkpoint of one tiny layer and a large vocabulary. */
  private Path model() throws IOException {
    Path model = Files.createDirectory(folder.resolve("model"));
    JsonObject config = new JsonObject();
    config.addProperty("model_type", "llama");
    config.add("architectures", new JsonArray());
    config.getAsJsonArray("architectures").add("LlamaForCausalLM");
    config.addProperty("hidden_size", HIDDEN);
    config.addProperty("intermediate_size", HIDDEN);
    config.addProperty("num_hidden_layers", 1);
    config.addProperty("num_attention_heads", 1);
    config.addProperty("vocab_size", VOCABULARY);
    config.addProperty("tie_word_embeddings", true);
    Files.writeString(model.resolve("config.json"), config.toString());
    SafetensorsWriter writer = new SafetensorsWriter();
    writer.add(
        "model.embed_tokens.weight",
        StorageType.F32,
        new long[] {VOCABULARY, HIDDEN},
        new float[VOCABULARY * HIDDEN]);
    Stream.of("input_layernorm", "post_attention_layernorm")
        .forEach(name -> add(writer, "model.layers.0." + name, HIDDEN));
    List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
        .forEach(name -> add(writer, "model.layers.0." + name, HIDDEN, HIDDEN));
    List.of("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
        .forEach(name -> add(writer, "model.layers.0." + name, HIDDEN, HIDDEN));
    add(writer, "model.norm", HIDDEN);
    writer.write(model.resolve("model.safetensors"));
    return model;
  }

  private static void add(SafetensorsWriter writer, String name, long... shape) {
    int elements = 1;
    for (long size : shape) {
      elements *= (int) size;
    }
    writer.add(name + ".weight", StorageType.F32, shape, new float[elements]);
  }
}
