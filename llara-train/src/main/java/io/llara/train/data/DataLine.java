package io.llara.train.data;

import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A line of a file of texts: a pair as the reference has them, or a document.
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
  private static final Set<String> KEYS = Set.of(INPUT, SELF, NEXT, TEXT, ID);

  /** What the embeddings of a pair's text must predict; may be blank. */
  record Targets(String self, String next) {}

  /** Reads a line. */
  static DataLine parse(byte[] line) throws BadLineException {
    Map<String, String> values = new HashMap<>();
    JsonLine.read(line, KEYS, (key, reader) -> values.put(key, value(reader, key)));
    // An empty id names nothing.
    values.remove(ID, "");
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

  private static String value(JsonReader reader, String key) throws IOException, BadLineException {
    if (key.equals(ID)) {
      JsonToken type = reader.peek();
      if (type == JsonToken.NULL) {
        reader.nextNull();
        return "";
      }
      if (type == JsonToken.NUMBER) {
        return reader.nextString();
      }
    }
    return JsonLine.string(reader, key);
  }

  private static String required(Map<String, String> values, String key) throws BadLineException {
    String value = values.get(key);
    if (value == null) {
      throw new BadLineException("has \"input\" but no \"" + key + "\"");
    }
    return value;
  }

  private static String notBlank(String value, String key) throws BadLineException {
    return JsonLine.notBlank(value, "\"" + key + "\"");
  }

  /**
   * Returns whether the line belongs to the held-out part: a hash of its id, or of its text when it
   * has none, falls into the given fraction. The same for the same document wherever it stands.
   */
  boolean isHeldOut(double fraction) {
    return JsonLine.fallsInto(fraction, id == null ? text : id);
  }
}
