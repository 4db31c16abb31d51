package io.llara.train.run;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.Strictness;
import io.llara.Internal;
import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Reads small JSON files of one object each, and tells what is wrong with them. */
@Internal
public final class JsonFiles {
  private static final Gson STRICT =
      new GsonBuilder()
          .setStrictness(Strictness.STRICT)
          .disableHtmlEscaping()
          .serializeNulls()
          .create();

  private JsonFiles() {}

  /**
   * Reads a file.
   *
   * @throws LlaraException if there is none, or it is not a JSON object
   */
  public static JsonObject read(Path file) {
    String text;
    try {
      text = Files.readString(file);
    } catch (NoSuchFileException e) {
      throw new LlaraException("%s: no such file".formatted(file), e);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be read: %s".formatted(file, e), e);
    }
    JsonObject json = parse(text);
    if (json == null) {
      throw new LlaraException("%s: is not a JSON object".formatted(file));
    }
    return json;
  }

  /** Returns the object that a text spells, or null. */
  static @Nullable JsonObject parse(String text) {
    try {
      return STRICT.fromJson(text, JsonElement.class) instanceof JsonObject json ? json : null;
    } catch (JsonParseException e) {
      return null;
    }
  }

  /** Returns an object on one line. */
  static String compact(JsonObject json) {
    return STRICT.toJson(json);
  }

  /**
   * Returns a member that is a whole number.
   *
   * @throws LlaraException if it is missing or something else
   */
  public static long requiredLong(Path file, JsonObject json, String key) {
    try {
      return Long.parseLong(required(file, json, key, "a whole number"));
    } catch (NumberFormatException e) {
      throw new LlaraException(
          "%s: key '%s' is %s; expected a whole number".formatted(file, key, json.get(key)), e);
    }
  }

  /**
   * Returns a member that is a text.
   *
   * @throws LlaraException if it is missing or something else
   */
  public static String requiredString(Path file, JsonObject json, String key) {
    return required(file, json, key, "a text");
  }

  private static String required(Path file, JsonObject json, String key, String expected) {
    JsonElement value = json.get(key);
    if (value == null || !value.isJsonPrimitive()) {
      throw wrong(file, key, value, expected);
    }
    return value.getAsString();
  }

  /**
   * Returns a member that is an object.
   *
   * @throws LlaraException if it is missing or something else
   */
  static JsonObject requiredObject(Path file, JsonObject json, String key) {
    JsonElement value = json.get(key);
    if (value == null || !value.isJsonObject()) {
      throw wrong(file, key, value, "an object");
    }
    return value.getAsJsonObject();
  }

  /**
   * Fails unless the version of a file's form is one that this code reads.
   *
   * @throws LlaraException if the version is missing or another one
   */
  public static void requireVersion(Path file, JsonObject json, String key, long newest) {
    long version = requiredLong(file, json, key);
    if (version > newest) {
      throw new LlaraException(
          "%s: key '%s' is %d; expected at most %d: a newer release wrote it"
              .formatted(file, key, version, newest));
    }
    if (version < 1) {
      throw new LlaraException("%s: key '%s' is %d; expected 1".formatted(file, key, version));
    }
  }

  /** Returns the members of an object of texts, in their order. */
  static Map<String, String> strings(Path file, JsonObject json) {
    Map<String, String> strings = new LinkedHashMap<>();
    json.keySet().forEach(key -> strings.put(key, requiredString(file, json, key)));
    return Collections.unmodifiableMap(strings);
  }

  /** Makes an object of texts, in their order. */
  static JsonObject ofStrings(Map<String, String> strings) {
    JsonObject json = new JsonObject();
    strings.forEach(json::addProperty);
    return json;
  }

  private static LlaraException wrong(
      Path file, String key, @Nullable JsonElement found, String expected) {
    return new LlaraException(
        found == null
            ? "%s: key '%s' is missing; expected %s".formatted(file, key, expected)
            : "%s: key '%s' is %s; expected %s".formatted(file, key, found, expected));
  }
}
