package io.llara.io;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.MalformedJsonException;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Reads JSON by the letter of RFC 8259, with limits: no duplicate keys, no comments, no NaN,
 * nothing after the value, bounded size and depth. The files come from strangers. What is read can
 * be written back as it was: the order of keys and the spelling of numbers stay.
 */
public final class StrictJson {
  /** Far beyond any settings file, small enough for any heap. */
  public static final int MAX_FILE_BYTES = 4 << 20;

  private static final int MAX_DEPTH = 32;

  private static final Gson COMPACT =
      new GsonBuilder().disableHtmlEscaping().serializeNulls().create();
  private static final Gson PRETTY = COMPACT.newBuilder().setPrettyPrinting().create();

  private StrictJson() {}

  /**
   * Reads a file that holds one JSON object.
   *
   * @throws LlaraException if it cannot be read, is larger than 4 MiB, or something else
   */
  public static JsonSection file(Path file) {
    return read(file, MAX_FILE_BYTES, JsonSection.Errors.DATA);
  }

  /**
   * Reads a file of a model that holds one JSON object.
   *
   * @throws ModelLoadException if it cannot be read, is larger than 4 MiB, or something else; the
   *     section's errors are of this type, too
   */
  public static JsonSection modelFile(Path file) {
    return modelFile(file, MAX_FILE_BYTES);
  }

  /** Reads a file of a model that may be larger, as {@link #modelFile(Path)}. */
  public static JsonSection modelFile(Path file, int maxBytes) {
    return read(file, maxBytes, JsonSection.Errors.MODEL);
  }

  /**
   * Reads a text that is one JSON object and belongs to a model.
   *
   * @param place what messages call it
   * @throws ModelLoadException if it is something else; the section's errors are of this type, too
   */
  public static JsonSection modelText(String json, String place) {
    return parse(new StringReader(json), place, JsonSection.Errors.MODEL);
  }

  /** Returns an object of a model's file, which was read already, to be read by key. */
  public static JsonSection modelSection(JsonObject json, String place) {
    return new JsonSection(place, "", json, JsonSection.Errors.MODEL);
  }

  /**
   * Reads a line that is one JSON object.
   *
   * @param place file and line, for messages
   * @throws LlaraException if it is something else
   */
  static JsonSection line(String json, String place) {
    if (json.isBlank()) {
      throw new LlaraException(place + ": is blank; expected a JSON object");
    }
    return text(json, place);
  }

  /**
   * Reads a text that is one JSON object.
   *
   * @param place what messages call it
   * @throws LlaraException if it is something else
   */
  public static JsonSection text(String json, String place) {
    return parse(new StringReader(json), place, JsonSection.Errors.DATA);
  }

  private static JsonSection read(Path file, int maxBytes, JsonSection.Errors errors) {
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file)) {
      bytes = in.readNBytes(maxBytes + 1);
    } catch (IOException e) {
      throw errors.error("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
    if (bytes.length > maxBytes) {
      throw errors.error(
          "%s: is larger than %d bytes, the limit for a JSON file".formatted(file, maxBytes));
    }
    return parse(utf8(new ByteArrayInputStream(bytes)), file.toString(), errors);
  }

  private static JsonSection parse(Reader text, String place, JsonSection.Errors errors) {
    JsonElement root;
    try (JsonReader reader = strict(text, MAX_DEPTH)) {
      root = element(reader);
      end(reader);
    } catch (IOException e) {
      throw errors.error("%s: is not valid JSON: %s".formatted(place, Messages.reason(e)), e);
    }
    if (!root.isJsonObject()) {
      throw errors.error(
          "%s: holds %s; expected a JSON object".formatted(place, JsonSection.describe(root)));
    }
    return new JsonSection(place, "", root.getAsJsonObject(), errors);
  }

  /** Returns a reader of UTF-8 that refuses malformed bytes and non-standard JSON. */
  public static JsonReader reader(InputStream in) {
    return reader(in, MAX_DEPTH);
  }

  /** Returns a reader as {@link #reader(InputStream)} that goes down to another depth. */
  public static JsonReader reader(InputStream in, int maxDepth) {
    return strict(utf8(in), maxDepth);
  }

  private static Reader utf8(InputStream in) {
    // A decoder of its own reports malformed bytes instead of replacing them.
    return new InputStreamReader(in, StandardCharsets.UTF_8.newDecoder());
  }

  private static JsonReader strict(Reader text, int maxDepth) {
    JsonReader reader = new JsonReader(text);
    reader.setStrictness(Strictness.STRICT);
    reader.setNestingLimit(maxDepth);
    return reader;
  }

  /** Fails unless the input ends here. */
  public static void end(JsonReader reader) throws IOException {
    if (reader.peek() != JsonToken.END_DOCUMENT) {
      throw new MalformedJsonException("more follows the end of the value");
    }
  }

  /** Reads the value that is next; the depth of this recursion is bounded by the reader's limit. */
  public static JsonElement element(JsonReader reader) throws IOException {
    return switch (reader.peek()) {
      case BEGIN_OBJECT -> object(reader);
      case BEGIN_ARRAY -> array(reader);
      case STRING -> new JsonPrimitive(reader.nextString());
      // Keeps the spelling; "1e999999999" is small as text and enormous as a BigDecimal.
      case NUMBER -> JsonParser.parseReader(reader);
      case BOOLEAN -> new JsonPrimitive(reader.nextBoolean());
      case NULL -> {
        reader.nextNull();
        yield JsonNull.INSTANCE;
      }
      default -> throw new MalformedJsonException("expected a value at " + reader.getPath());
    };
  }

  private static JsonObject object(JsonReader reader) throws IOException {
    JsonObject object = new JsonObject();
    reader.beginObject();
    while (reader.hasNext()) {
      String key = reader.nextName();
      if (object.has(key)) {
        throw new MalformedJsonException("the key " + Messages.quote(key) + " occurs twice");
      }
      object.add(key, element(reader));
    }
    reader.endObject();
    return object;
  }

  private static JsonArray array(JsonReader reader) throws IOException {
    JsonArray array = new JsonArray();
    reader.beginArray();
    while (reader.hasNext()) {
      array.add(element(reader));
    }
    reader.endArray();
    return array;
  }

  /** Returns the JSON form of a map, a list, or a record, of such or of strings and numbers. */
  public static JsonElement tree(Object value) {
    return COMPACT.toJsonTree(value);
  }

  /** Returns an object on one line, nulls kept. */
  public static String compact(JsonObject json) {
    return COMPACT.toJson(json);
  }

  /** Returns an object for people to read: a member a line, nulls kept, a line end at the end. */
  public static String pretty(JsonObject json) {
    return PRETTY.toJson(json) + "\n";
  }
}
