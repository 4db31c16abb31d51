package io.llara.benchmarks;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;

/** Writes checkpoints of random weights, tensor by tensor, so that no model sits in memory. */
final class RandomCheckpoint {
  private static final int BUFFER_BYTES = 1 << 20;

  /** A uniform distribution this wide has the standard deviation 0.02. */
  private static final double WIDTH = 0.02 * Math.sqrt(12);

  private RandomCheckpoint() {}

  /** Writes {@code config.json} and {@code model.safetensors}. */
  static void write(Path dir, LlamaConfig config, StorageType type) throws IOException {
    Files.createDirectories(dir);
    Files.writeString(dir.resolve("config.json"), json(config).toString());
    SplittableRandom random = new SplittableRandom(1);
    SafetensorsWriter writer = new SafetensorsWriter();
    LlamaTensors.required(config)
        .forEach(
            (name, shape) -> {
              boolean norm = shape.length == 1;
              long elements = norm ? shape[0] : shape[0] * shape[1];
              writer.add(
                  "model." + name, type, shape, out -> write(out, elements, type, norm, random));
            });
    writer.write(dir.resolve("model.safetensors"));
  }

  private static void write(
      WritableByteChannel out,
      long elements,
      StorageType type,
      boolean ones,
      SplittableRandom random)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (long i = 0; i < elements; i++) {
      float value = ones ? 1 : (float) ((random.nextDouble() - 0.5) * WIDTH);
      if (type == StorageType.F32) {
        buffer.putFloat(value);
      } else {
        buffer.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
      }
      if (!buffer.hasRemaining() || i == elements - 1) {
        buffer.flip();
        while (buffer.hasRemaining()) {
          out.write(buffer);
        }
        buffer.clear();
      }
    }
  }

  static JsonObject json(LlamaConfig config) {
    JsonObject json = new JsonObject();
    JsonArray architectures = new JsonArray();
    architectures.add("LlamaForCausalLM");
    json.add("architectures", architectures);
    json.addProperty("model_type", "llama");
    json.addProperty("hidden_size", config.hiddenSize());
    json.addProperty("intermediate_size", config.intermediateSize());
    json.addProperty("num_hidden_layers", config.layers());
    json.addProperty("num_attention_heads", config.heads());
    json.addProperty("num_key_value_heads", config.kvHeads());
    json.addProperty("vocab_size", config.vocabularySize());
    json.addProperty("max_position_embeddings", config.maxPositionEmbeddings());
    json.addProperty("rms_norm_eps", config.rmsNormEps());
    json.addProperty("rope_theta", config.ropeTheta());
    json.addProperty("tie_word_embeddings", true);
    return json;
  }
}
