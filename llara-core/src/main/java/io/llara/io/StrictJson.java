package io.llara.io;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.MalformedJsonException;
import io.llara.ModelLoadException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Reads JSON files by the letter of RFC 8259, with limits: no duplicate keys, no comments, no NaN,
 * nothing after the value, bounded size and depth. The files come from strangers.
 */
public final class StrictJson {
  /** Far beyond any settings file, small enough for any heap. */
  public static final int MAX_FILE_BYTES = 4 << 20;

  private static final int MAX_DEPTH = 32;

  private StrictJson() {}

  /** Reads a file that holds one JSON object. */
  public static JsonSection readObject(Path file) {
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file)) {
      bytes = in.readNBytes(MAX_FILE_BYTES + 1);
    } catch (IOException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
    if (bytes.length > MAX_FILE_BYTES) {
      throw new ModelLoadException(
          "%s: is larger than %d bytes, the limit for a JSON file".formatted(file, MAX_FILE_BYTES));
    }
    JsonElement root = parse(bytes, file);
    if (!root.isJsonObject()) {
      throw new ModelLoadException(
          "%s: holds %s; expected a JSON object".formatted(file, JsonSection.kind(root)));
    }
    return new JsonSection(file, "", root.getAsJsonObject());
  }

  /** Returns a reader of UTF-8 that refuses malformed bytes and non-standard JSON. */
  public static JsonReader reader(InputStream in) {
    Reader characters =
        new InputStreamReader(
            in,
            StandardCharsets.UTF_8
                .newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT));
    JsonReader reader = new JsonReader(characters);
    reader.setStrictness(Strictness.STRICT);
    reader.setNestingLimit(MAX_DEPTH);
    return reader;
  }

  private static JsonElement parse(byte[] bytes, Path file) {
    try (JsonReader reader = reader(new ByteArrayInputStream(bytes))) {
      JsonElement root = element(reader);
      end(reader);
      return root;
    } catch (IOException e) {
      throw new ModelLoadException(
          "%s: is not valid JSON: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  /** Fails unless the input ends here. */
  public static void end(JsonReader reader) throws IOException {
    if (reader.peek() != JsonToken.END_DOCUMENT) {
      throw new MalformedJsonException("more follows the end of the value");
    }
  }

  /** The depth of this recursion is bounded by the reader's nesting limit. */
  private static JsonElement element(JsonReader reader) throws IOException {
    switch (reader.peek()) {
      case BEGIN_OBJECT:
        return object(reader);
      case BEGIN_ARRAY:
        return array(reader);
      case STRING:
        return new JsonPrimitive(reader.nextString());
      case NUMBER:
        return new JsonPrimitive(number(reader.nextString()));
      case BOOLEAN:
        return new JsonPrimitive(reader.nextBoolean());
      case NULL:
        reader.nextNull();
        return JsonNull.INSTANCE;
      default:
        throw new MalformedJsonException("expected a value at " + reader.getPath());
    }
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

  /** A Long where the text is a whole number of at most 18 digits, else a Double. */
  private static Number number(String text) {
    // Not BigDecimal: "1e999999999" is small as text and enormous as a number.
    return text.matches("-?[0-9]{1,18}") ? (Number) Long.valueOf(text) : Double.valueOf(text);
  }
}
