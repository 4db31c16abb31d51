package io.llara.train.data;

import com.google.common.hash.Hashing;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.io.StringReader;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A line of a data file: a pair as the reference has them, or a document.
 *
 * @param text the key {@code input} of a pair, {@code text} of a document; not blank
 * @param targets the targets of a pair; null for a document
 * @param id the key {@code id}, or null
 */
record DataLine(String text, @Nullable Targets targets, @Nullable String id) {
  private static final String INPUT = "input";
  private static final String SELF = "output_summarize";
  private static final String NEXT = "output_predict";
  private static final String TEXT = "text";
  private static final String ID = "id";

  private static final int MAX_DEPTH = 32;
  private static final int LONGEST_REASON = 200;
  private static final String GSON_ADVICE =
      "Use JsonReader.setStrictness(Strictness.LENIENT) to accept malformed JSON";

  /** What the embeddings of a pair's text must predict; may be blank. */
  record Targets(String self, String next) {}

  /** Reads a line. */
  static DataLine parse(byte[] line) throws BadLineException {
    String json = decode(line);
    if (json.isBlank()) {
      throw new BadLineException("is blank; expected a JSON object");
    }
    Map<String, String> values = values(json);
    String input = values.get(INPUT);
    String text = values.get(TEXT);
    String id = values.get(ID);
    if (input != null && text == null) {
      Targets targets = new Targets(required(values, SELF), required(values, NEXT));
      return new DataLine(notBlank(input, INPUT), targets, id);
    }
    if (text != null && input == null) {
      return new DataLine(notBlank(text, TEXT), null, id);
    }
    throw new BadLineException(
        input == null
            ? "has neither \"input\" nor \"text\""
            : "has both \"input\" and \"text\": it cannot be told which form it has");
  }

  private static String decode(byte[] line) throws BadLineException {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(line)).toString();
    } catch (CharacterCodingException e) {
      throw new BadLineException("is not UTF-8 text", e);
    }
  }

  private static Map<String, String> values(String json) throws BadLineException {
    try (JsonReader reader = new JsonReader(new StringReader(json))) {
      reader.setStrictness(Strictness.STRICT);
      reader.setNestingLimit(MAX_DEPTH);
      JsonToken first = reader.peek();
      if (first != JsonToken.BEGIN_OBJECT) {
        throw new BadLineException("is " + kind(first) + "; expected a JSON object");
      }
      Map<String, String> values = new HashMap<>();
      reader.beginObject();
      while (reader.hasNext()) {
        String key = reader.nextName();
        switch (key) {
          case INPUT, SELF, NEXT, TEXT, ID -> {
            if (values.containsKey(key)) {
              throw new BadLineException("has \"" + key + "\" twice");
            }
            values.put(key, value(reader, key));
          }
          default -> reader.skipValue();
        }
      }
      reader.endObject();
      if (reader.peek() != JsonToken.END_DOCUMENT) {
        throw new BadLineException("is not JSON: something follows its object");
      }
      // An empty id names nothing.
      values.remove(ID, "");
      return values;
    } catch (IOException e) {
      throw new BadLineException("is not JSON: " + reason(e), e);
    }
  }

  private static String value(JsonReader reader, String key) throws IOException, BadLineException {
    JsonToken type = reader.peek();
    if (key.equals(ID)) {
      if (type == JsonToken.NULL) {
        reader.nextNull();
        return "";
      }
      if (type == JsonToken.NUMBER) {
        return reader.nextString();
      }
    }
    if (type != JsonToken.STRING) {
      throw new BadLineException("\"" + key + "\" is " + kind(type) + "; expected a string");
    }
    String value = reader.nextString();
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(value)) {
      throw new BadLineException("\"" + key + "\" has half of a surrogate pair: it is no text");
    }
    return value;
  }

  private static String required(Map<String, String> values, String key) throws BadLineException {
    String value = values.get(key);
    if (value == null) {
      throw new BadLineException("has \"input\" but no \"" + key + "\"");
    }
    return value;
  }

  private static String notBlank(String value, String key) throws BadLineException {
    if (value.isBlank()) {
      throw new BadLineException("\"" + key + "\" is blank");
    }
    return value;
  }

  private static String kind(JsonToken type) {
    return switch (type) {
      case BEGIN_ARRAY -> "a list";
      case BEGIN_OBJECT -> "an object";
      case STRING -> "a string";
      case NUMBER -> "a number";
      case BOOLEAN -> "true or false";
      default -> "null";
    };
  }

  /** Gson's messages begin with advice to its caller and end with a line on where to read more. */
  private static String reason(IOException e) {
    String first = String.valueOf(e.getMessage()).split("\n", 2)[0];
    String reason =
        first
            .replace(GSON_ADVICE, "malformed")
            .replaceAll(" at line 1 column ([0-9]+) path .*", " at character $1");
    return reason.length() > LONGEST_REASON ? reason.substring(0, LONGEST_REASON) + "…" : reason;
  }

  /**
   * Returns whether the line belongs to the held-out part: a hash of its id, or of its text when it
   * has none, falls into the given fraction. The same for the same document wherever it stands.
   */
  boolean isHeldOut(double fraction) {
    long hash =
        Hashing.murmur3_128().hashString(id == null ? text : id, StandardCharsets.UTF_8).asLong();
    return (hash >>> 11) * 0x1p-53 < fraction;
  }
}
