package io.llara.retrieval;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.MalformedJsonException;
import io.llara.Internal;
import io.llara.LlaraException;
import java.io.IOException;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/** One pass over a text of one JSON object a line, as BEIR's collections and queries are. */
@Internal
public final class JsonLines implements AutoCloseable {
  private final TextLines lines;
  private JsonObject json = new JsonObject();

  /**
   * Reads the lines of a text.
   *
   * @param lines closed with this
   */
  public JsonLines(TextLines lines) {
    this.lines = lines;
  }

  /**
   * Goes to the next object and returns whether there is one.
   *
   * @throws LlaraException if the line is something else
   */
  public boolean advance() {
    if (!lines.advance()) {
      return false;
    }
    json = parse(lines.line());
    return true;
  }

  private JsonObject parse(String line) {
    try (JsonReader strict = new JsonReader(new StringReader(line))) {
      strict.setStrictness(Strictness.STRICT);
      JsonElement element = JsonParser.parseReader(strict);
      if (!element.isJsonObject() || strict.peek() != JsonToken.END_DOCUMENT) {
        throw lines.wrong("is not one JSON object");
      }
      return element.getAsJsonObject();
    } catch (JsonParseException | MalformedJsonException e) {
      throw lines.wrong("is not a JSON object", e);
    } catch (IOException e) {
      throw new UncheckedIOException("a string was read", e);
    }
  }

  /** Returns the number of the line; the text's first is 1. */
  public long number() {
    return lines.number();
  }

  /**
   * Returns a member that is a string; an empty one if it is null.
   *
   * @throws LlaraException if it is missing or something else
   */
  public String string(String key) {
    if (!json.has(key)) {
      throw lines.wrong("has no key '" + key + "'");
    }
    return optionalString(key);
  }

  /**
   * Returns a member that is a string; an empty one if it is missing or null.
   *
   * @throws LlaraException if it is something else
   */
  public String optionalString(String key) {
    JsonElement value = json.get(key);
    if (value == null || value.isJsonNull()) {
      return "";
    }
    if (!value.isJsonPrimitive()) {
      throw lines.wrong("key '" + key + "' is not a string");
    }
    String string = value.getAsString();
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(string)) {
      throw lines.wrong("key '" + key + "' has half of a surrogate pair");
    }
    return string;
  }

  /** Returns an exception that names the line; {@code what} goes on from "line 7". */
  public LlaraException wrong(String what) {
    return lines.wrong(what);
  }

  @Override
  public void close() {
    lines.close();
  }
}
