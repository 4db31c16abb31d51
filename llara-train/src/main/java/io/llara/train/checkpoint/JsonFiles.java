package io.llara.train.checkpoint;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import io.llara.ModelLoadException;
import java.io.IOException;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * JSON files of a model directory, read whole so that what is not changed is written back: order,
 * unknown keys, and numbers as they were spelled.
 */
final class JsonFiles {
  private JsonFiles() {}

  /** Reads a file that holds an object. */
  static JsonObject read(Path file) {
    try (Reader text = Files.newBufferedReader(file, StandardCharsets.UTF_8);
        JsonReader reader = new JsonReader(text)) {
      reader.setStrictness(Strictness.STRICT);
      if (JsonParser.parseReader(reader) instanceof JsonObject object) {
        return object;
      }
      throw new ModelLoadException(file + ": is not a JSON object");
    } catch (IOException | JsonParseException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(file, e.getMessage()), e);
    }
  }

  /** Reads a file if it is there. */
  static Optional<JsonObject> readIfThere(Path file) {
    return Files.exists(file) ? Optional.of(read(file)) : Optional.empty();
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
}
