package io.llara.checkpoint;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;

/** Small files for the tests of this package. */
public final class Checkpoints {
  /** hidden 8, two layers, two heads on one key head. */
  public static final String CONFIG_JSON =
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
       "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
       "num_key_value_heads": 1, "vocab_size": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
       "rope_scaling": null, "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2,
       "hidden_act": "silu", "max_position_embeddings": 64, "torch_dtype": "float32"}
      """;

  public static final String ADAPTER_JSON =
      """
      {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "use_dora": false,
       "use_rslora": false, "fan_in_fan_out": false, "target_modules": ["q_proj", "down_proj"],
       "modules_to_save": null, "rank_pattern": {}, "alpha_pattern": {},
       "init_lora_weights": true}
      """;

  private Checkpoints() {}

  public static LlamaConfig config() {
    return LlamaConfig.builder()
        .hiddenSize(8)
        .intermediateSize(12)
        .layers(2)
        .heads(2)
        .kvHeads(1)
        .vocabularySize(16)
        .build();
  }

  public static Path text(Path file, String content) {
    try {
      return Files.writeString(file, content);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public static float[] random(long[] shape, long seed) {
    int elements = 1;
    for (long size : shape) {
      elements = Math.multiplyExact(elements, Math.toIntExact(size));
    }
    Random random = new Random(seed);
    float[] values = new float[elements];
    for (int i = 0; i < elements; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  /** Returns a writer that has every weight of the configuration under its stored name. */
  public static SafetensorsWriter weights(LlamaConfig config, UnaryOperator<String> storedName) {
    SafetensorsWriter writer = new SafetensorsWriter();
    LlamaTensors.required(config)
        .forEach((name, shape) -> add(writer, storedName.apply(name), shape));
    return writer;
  }

  public static void add(SafetensorsWriter writer, String name, long... shape) {
    writer.add(name, StorageType.F32, shape, random(shape, name.hashCode()));
  }

  /** Writes a whole checkpoint of one weight file, with the {@code model.} prefix. */
  public static Path write(Path dir) {
    text(dir.resolve("config.json"), CONFIG_JSON);
    SafetensorsWriter writer = weights(config(), name -> "model." + name);
    add(writer, "lm_head.weight", 16, 8);
    writer.write(dir.resolve("model.safetensors"));
    return dir;
  }

  /** Returns the factors of q_proj and down_proj of both layers, named as PEFT names them. */
  public static SafetensorsWriter adapterWeights() {
    SafetensorsWriter writer = new SafetensorsWriter();
    for (int layer = 0; layer < 2; layer++) {
      String prefix = "base_model.model.model.layers." + layer + ".";
      pair(writer, prefix + "self_attn.q_proj", 8, 8, 2);
      pair(writer, prefix + "mlp.down_proj", 8, 12, 2);
    }
    return writer;
  }

  public static void pair(SafetensorsWriter writer, String module, long out, long in, long rank) {
    add(writer, module + ".lora_A.weight", rank, in);
    add(writer, module + ".lora_B.weight", out, rank);
  }

  public static Path writeAdapter(Path dir) {
    text(dir.resolve(LoraAdapter.CONFIG), ADAPTER_JSON);
    adapterWeights().write(dir.resolve(LoraAdapter.WEIGHTS));
    return dir;
  }

  /** Returns the bytes of a file with this header and so many bytes of data. */
  public static byte[] safetensors(String header, int dataBytes) {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(8 + json.length + dataBytes)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(json.length)
        .put(json)
        .array();
  }

  public static String entry(String name, String type, String shape, long begin, long end) {
    return "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
        .formatted(name, type, shape, begin, end);
  }

  /** Replaces text of a settings file; the text must occur. */
  public static String replaced(String json, Map<String, String> changes) {
    String result = json;
    for (Map.Entry<String, String> change : changes.entrySet()) {
      if (!result.contains(change.getKey())) {
        throw new IllegalArgumentException(change.getKey() + " does not occur");
      }
      result = result.replace(change.getKey(), change.getValue());
    }
    return result;
  }
}
