package io.llara.train.checkpoint;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.DenseLayer;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.PythonFiles;
import io.llara.checkpoint.Quantization;
import io.llara.checkpoint.StorageType;
import io.llara.io.AtomicFiles;
import io.llara.io.ByteChannels;
import io.llara.io.StrictJson;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/** The files of a model directory beside the weights: names, how they are read and copied. */
final class ModelFiles {
  static final String GENERATION = "generation_config.json";
  static final String TOKENIZER = "tokenizer.json";
  static final String TOKENIZER_CONFIG = "tokenizer_config.json";
  static final String ADDED_TOKENS = "added_tokens.json";

  /** What goes with any vocabulary. */
  static final List<String> INDEPENDENT =
      List.of(
          TOKENIZER_CONFIG, "special_tokens_map.json", "chat_template.jinja", "chat_template.json");

  /** The vocabulary itself, in the forms that libraries know. */
  private static final List<String> VOCABULARY =
      List.of(TOKENIZER, ADDED_TOKENS, "tokenizer.model", "vocab.json", "merges.txt");

  private static final int MAX_JSON_BYTES = 512 << 20;
  private static final String WITH_HEAD = "ForCausalLM";

  private ModelFiles() {}

  /** Reads a file of a JSON object, which may be as large as a tokenizer's vocabulary. */
  static JsonObject json(Path file) {
    return StrictJson.modelFile(file, MAX_JSON_BYTES).json();
  }

  /** Reads the tokenizer.json of a directory, or what its slow tokenizer is converted to. */
  static JsonObject tokenizer(Path dir) {
    return Tokenizer.converted(dir).orElseGet(() -> json(dir.resolve(TOKENIZER)));
  }

  static Optional<JsonObject> jsonIfThere(Path file) {
    return Files.exists(file) ? Optional.of(json(file)) : Optional.empty();
  }

  /** Returns the list under a key, which is made if it is absent or null. */
  static JsonArray list(JsonObject object, String key) {
    JsonElement value = object.get(key);
    if (value instanceof JsonArray list) {
      return list;
    }
    JsonArray list = new JsonArray();
    object.add(key, list);
    return list;
  }

  /** Writes a tokenizer's configuration with its list of added tokens edited, if it has one. */
  static void editAddedTokens(Path from, Path to, Consumer<JsonObject> edit) {
    Path source = from.resolve(TOKENIZER_CONFIG);
    JsonObject settings = jsonIfThere(from.resolve(TOKENIZER_CONFIG)).orElseGet(JsonObject::new);
    if (settings.get("added_tokens_decoder") instanceof JsonObject decoder) {
      edit.accept(decoder);
      AtomicFiles.writeJson(to.resolve(TOKENIZER_CONFIG), settings);
    }
  }

  /** Copies the files of a tokenizer that are there. */
  static void copyTokenizer(Path from, Path to) {
    copy(from, to, VOCABULARY);
    copy(from, to, INDEPENDENT);
  }

  /** Copies those of the names that are there. */
  static void copy(Path from, Path to, List<String> names) {
    for (String name : names) {
      if (Files.exists(from.resolve(name))) {
        copy(from.resolve(name), to.resolve(name));
      }
    }
  }

  /** Copies a file; it is on disk when this returns. */
  static void copy(Path from, Path to) {
    AtomicFiles.write(to, out -> copy(from, 0, Files.size(from), out));
  }

  /** Copies a part of a file. */
  static void copy(Path from, long offset, long length, WritableByteChannel out)
      throws IOException {
    try (FileChannel in = FileChannel.open(from)) {
      ByteChannels.copy(in, offset, length, out);
    } catch (IOException e) {
      throw new IOException("the copy of %s failed: %s".formatted(from, e.getMessage()), e);
    }
  }

  /** Says in a configuration that the model has its output projection. */
  static void nameModelWithHead(JsonObject json, LlamaConfig config) {
    String family =
        config
            .architecture()
            .replaceFirst("^Pre", "")
            .replaceFirst("(Model|" + WITH_HEAD + ")$", "");
    JsonArray architectures = new JsonArray();
    architectures.add(family + WITH_HEAD);
    json.add("architectures", architectures);
    if (!json.has("model_type")) {
      json.addProperty("model_type", family.equals("Mistral") ? "mistral" : "llama");
    }
  }

  /**
   * Returns how a model's texts become vectors.
   *
   * @throws UnsupportedModelException if it does not say
   */
  static LlaraJson requireRecipe(CheckpointDirectory checkpoint) {
    return checkpoint
        .llaraJson()
        .orElseThrow(
            () ->
                new UnsupportedModelException(
                    "%s: does not say what its prompts are: texts cannot be run through it"
                        .formatted(checkpoint.path())));
  }

  /**
   * Writes how a model's texts become vectors, for this library and for those of Python.
   *
   * @param source the model that has the linear layer of the recipe, if it has one
   */
  static void writeRecipe(Path source, Path dir, LlaraJson recipe) {
    Optional<DenseLayer.Location> dense = recipe.dense();
    dense.ifPresent(layer -> copy(source.resolve(layer.file()), dir.resolve(DenseLayer.FILE_NAME)));
    writeRecipe(
        dir,
        recipe.withDense(
            dense.map(layer -> new DenseLayer.Location(DenseLayer.FILE_NAME, layer.activation()))));
  }

  /** Writes the recipe of a model whose linear layer is there, or which has none. */
  static void writeRecipe(Path dir, LlaraJson recipe) {
    recipe.write(dir);
    PythonFiles.write(dir, recipe);
  }

  /**
   * Says in a configuration what type all weights are in, under the key that it uses: a model made
   * of a quantised one no longer is.
   */
  static void nameType(JsonObject json, StorageType type) {
    json.remove(Quantization.KEY);
    boolean newKey = json.has("dtype");
    if (newKey) {
      json.addProperty("dtype", type.torchName());
    }
    if (!newKey || json.has("torch_dtype")) {
      json.addProperty("torch_dtype", type.torchName());
    }
  }
}
