package io.llara.train.checkpoint;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import io.llara.ModelLoadException;
import io.llara.checkpoint.AtomicFiles;
import java.io.IOException;
import java.io.Reader;
import java.io.Writer;
import java.nio.channels.Channels;
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

  /** Writes a file, human-readable. */
  static void write(Path file, JsonObject json) {
    AtomicFiles.write(
        file,
        channel -> {
          // Not closed: the channel is forced to disk first.
          Writer text = Channels.newWriter(channel, StandardCharsets.UTF_8);
          new GsonBuilder()
              .setPrettyPrinting()
              .disableHtmlEscaping()
              .serializeNulls()
              .create()
              .toJson(json, text);
          text.write('\n');
          text.flush();
        });
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
