package io.llara.testing;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.RopeScaling;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** Checkpoints of any shape with seeded random weights. */
public final class RandomCheckpoint {
  private RandomCheckpoint() {}

  /** Writes config.json and model.safetensors of a configuration; returns the directory. */
  public static Path write(Path dir, LlamaConfig config, StorageType type, long seed) {
    writeConfig(dir, config);
    SafetensorsWriter writer = new SafetensorsWriter();
    LlamaTensors.required(config)
        .forEach((name, shape) -> add(writer, "model." + name, type, shape, seed));
    if (!config.tieWordEmbeddings()) {
      add(writer, LlamaTensors.HEAD, type, LlamaTensors.headShape(config), seed);
    }
    writer.write(dir.resolve("model.safetensors"));
    return dir;
  }

  private static void add(
      SafetensorsWriter writer, String name, StorageType type, long[] shape, long seed) {
    writer.add(name, type, shape, values(name, shape, seed));
  }

  /** Values that keep hidden states near 1 whatever the shape; a tensor's own for each name. */
  public static float[] values(String name, long[] shape, long seed) {
    Random random = new Random(seed * 31 + name.hashCode());
    int elements = 1;
    for (long size : shape) {
      elements = Math.multiplyExact(elements, Math.toIntExact(size));
    }
    boolean norm = name.endsWith("norm.weight");
    double spread =
        shape.length == 2 && !name.endsWith(LlamaTensors.EMBEDDING)
            ? 1 / Math.sqrt(shape[1])
            : norm ? 0.1 : 0.5;
    float[] values = new float[elements];
    for (int i = 0; i < elements; i++) {
      values[i] = (float) (random.nextGaussian() * spread + (norm ? 1 : 0));
    }
    return values;
  }

  /** Writes the config.json of a configuration. */
  public static void writeConfig(Path dir, LlamaConfig config) {
    JsonObject json = new JsonObject();
    JsonArray architectures = new JsonArray();
    architectures.add(config.architecture());
    json.add("architectures", architectures);
    json.addProperty("hidden_act", "silu");
    json.addProperty("hidden_size", config.hiddenSize());
    json.addProperty("intermediate_size", config.intermediateSize());
    json.addProperty("num_hidden_layers", config.layers());
    json.addProperty("num_attention_heads", config.heads());
    json.addProperty("num_key_value_heads", config.kvHeads());
    json.addProperty("head_dim", config.headDim());
    json.addProperty("vocab_size", config.vocabularySize());
    json.addProperty("rms_norm_eps", config.rmsNormEps());
    json.addProperty("rope_theta", config.ropeTheta());
    json.add("rope_scaling", scaling(config.ropeScaling()));
    json.addProperty("tie_word_embeddings", config.tieWordEmbeddings());
    json.addProperty("attention_bias", config.attentionBias());
    json.addProperty("max_position_embeddings", config.maxPositionEmbeddings());
    config.eosTokenId().ifPresent(id -> json.addProperty("eos_token_id", id));
    try {
      Files.writeString(dir.resolve("config.json"), json.toString());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static JsonObject scaling(RopeScaling scaling) {
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
    } else {
      json.addProperty("rope_type", "default");
    }
    return json;
  }
}
