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
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Reads the JSON object that a line must be, strictly; what is wrong is said in our words. */
final class JsonLine {
  private static final int MAX_DEPTH = 32;
  private static final int LONGEST_REASON = 200;
  private static final String GSON_ADVICE =
      "Use JsonReader.setStrictness(Strictness.LENIENT) to accept malformed JSON";

  private JsonLine() {}

  /** Takes the values of the keys that are wanted. */
  interface Values {
    /** Reads the value that is next. */
    void read(String key, JsonReader reader) throws IOException, BadLineException;
  }

  /**
   * Reads a line.
   *
   * @param wanted the keys whose values are read; each may stand there once, others are passed over
   */
  static void read(byte[] line, Set<String> wanted, Values values) throws BadLineException {
    String json = decode(line);
    if (json.isBlank()) {
      throw new BadLineException("is blank; expected a JSON object");
    }
    try (JsonReader reader = new JsonReader(new StringReader(json))) {
      reader.setStrictness(Strictness.STRICT);
      reader.setNestingLimit(MAX_DEPTH);
      JsonToken first = reader.peek();
      if (first != JsonToken.BEGIN_OBJECT) {
        throw new BadLineException("is " + kind(first) + "; expected a JSON object");
      }
      Set<String> seen = new HashSet<>();
      reader.beginObject();
      while (reader.hasNext()) {
        String key = reader.nextName();
        if (!wanted.contains(key)) {
          reader.skipValue();
        } else if (seen.add(key)) {
          values.read(key, reader);
        } else {
          throw new BadLineException("has \"" + key + "\" twice");
        }
      }
      reader.endObject();
      if (reader.peek() != JsonToken.END_DOCUMENT) {
        throw new BadLineException("is not JSON: something follows its object");
      }
    } catch (IOException e) {
      throw new BadLineException("is not JSON: " + reason(e), e);
    }
  }

  private static String decode(byte[] line) throws BadLineException {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(line)).toString();
    } catch (CharacterCodingException e) {
      throw new BadLineException("is not UTF-8 text", e);
    }
  }

  /** Returns the string that is next, the value of a key. */
  static String string(JsonReader reader, String key) throws IOException, BadLineException {
    return string(reader, key, "\"" + key + "\"");
  }

  private static String string(JsonReader reader, String key, String place)
      throws IOException, BadLineException {
    JsonToken type = reader.peek();
    if (type != JsonToken.STRING) {
      throw new BadLineException(place + " is " + kind(type) + "; expected a string");
    }
    String value = reader.nextString();
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(value)) {
      throw new BadLineException("\"" + key + "\" has half of a surrogate pair: it is no text");
    }
    return value;
  }

  /** Returns the list of texts that is next, the value of a key; none of them is blank. */
  static List<String> texts(JsonReader reader, String key) throws IOException, BadLineException {
    JsonToken type = reader.peek();
    if (type != JsonToken.BEGIN_ARRAY) {
      throw new BadLineException(
          "\"" + key + "\" is " + kind(type) + "; expected a list of strings");
    }
    List<String> texts = new ArrayList<>();
    reader.beginArray();
    while (reader.hasNext()) {
      String place = "\"" + key + "\"[" + texts.size() + "]";
      texts.add(notBlank(string(reader, key, place), place));
    }
    reader.endArray();
    return texts;
  }

  /** Returns a value that holds more than white space. */
  static String notBlank(String value, String place) throws BadLineException {
    if (value.isBlank()) {
      throw new BadLineException(place + " is blank");
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

  /** Returns whether the hash of a name falls into a fraction of all. */
  static boolean fallsInto(double fraction, String name) {
    long hash = Hashing.murmur3_128().hashString(name, StandardCharsets.UTF_8).asLong();
    return (hash >>> 11) * 0x1p-53 < fraction;
  }
}
