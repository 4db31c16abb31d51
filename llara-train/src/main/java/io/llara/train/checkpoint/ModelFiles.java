package io.llara.train.checkpoint;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.StorageType;
import java.util.LinkedHashMap;
import java.util.Map;

/** Names and settings of the files of a model directory. */
final class ModelFiles {
  static final String CONFIG = "config.json";
  static final String GENERATION = "generation_config.json";
  static final String WEIGHTS = "model.safetensors";
  static final String INDEX = "model.safetensors.index.json";

  private static final String PREFIX = "model.";
  private static final String WITH_HEAD = "ForCausalLM";

  private ModelFiles() {}

  /** Returns the name that a tensor has in the file of a model with an output projection. */
  static String storedName(String canonical) {
    return canonical.equals(LlamaTensors.HEAD) ? canonical : PREFIX + canonical;
  }

  /** Returns the name without the prefix that models with an output projection put before it. */
  static String canonicalName(String stored) {
    return stored.startsWith(PREFIX) ? stored.substring(PREFIX.length()) : stored;
  }

  /** Returns all tensors of a configuration with their shapes; the head unless it is tied. */
  static Map<String, long[]> tensors(LlamaConfig config) {
    Map<String, long[]> shapes = new LinkedHashMap<>(LlamaTensors.required(config));
    if (!config.tieWordEmbeddings()) {
      shapes.put(LlamaTensors.HEAD, LlamaTensors.headShape(config));
    }
    return shapes;
  }

  /** Says in a configuration that the model has its output projection. */
  static void nameModelWithHead(JsonObject json, LlamaConfig config) {
    String family = config.architecture().replaceFirst("(Model|" + WITH_HEAD + ")$", "");
    JsonArray architectures = new JsonArray();
    architectures.add(family + WITH_HEAD);
    json.add("architectures", architectures);
    if (!json.has("model_type")) {
      json.addProperty("model_type", family.equals("Mistral") ? "mistral" : "llama");
    }
  }

  /** Says in a configuration what type the weights are in, under the key that it uses. */
  static void nameType(JsonObject json, StorageType type) {
    String name =
        switch (type) {
          case F16 -> "float16";
          case BF16 -> "bfloat16";
          default -> "float32";
        };
    boolean newKey = json.has("dtype");
    if (newKey) {
      json.addProperty("dtype", name);
    }
    if (!newKey || json.has("torch_dtype")) {
      json.addProperty("torch_dtype", name);
    }
  }
}
