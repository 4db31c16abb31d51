package io.llara.train.data;

import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Reads a line of a file of pairs. */
final class PairLine {
  private static final String QUERY = "query";
  private static final String POSITIVES = "pos";
  private static final String NEGATIVES = "neg";
  private static final Set<String> KEYS = Set.of(QUERY, POSITIVES, NEGATIVES);

  private @Nullable String query;
  private final Map<String, List<String>> passages = new HashMap<>();

  private PairLine() {}

  static TrainingPair parse(byte[] line, String origin) throws BadLineException {
    PairLine values = new PairLine();
    JsonLine.read(line, KEYS, values::read);
    if (values.query == null) {
      throw new BadLineException("has no \"query\"");
    }
    String query = JsonLine.notBlank(values.query, "\"query\"");
    List<String> positives = values.passages.get(POSITIVES);
    if (positives == null) {
      throw new BadLineException("has no \"pos\"");
    }
    if (positives.isEmpty()) {
      throw new BadLineException("\"pos\" is empty: the query has no positive passage");
    }
    List<String> negatives = values.passages.getOrDefault(NEGATIVES, List.of());
    return new TrainingPair(query, positives, negatives, origin);
  }

  private void read(String key, JsonReader reader) throws IOException, BadLineException {
    if (key.equals(QUERY)) {
      query = JsonLine.string(reader, key);
    } else if (key.equals(NEGATIVES) && reader.peek() == JsonToken.NULL) {
      // What tools write for a list that is not there.
      reader.nextNull();
    } else {
      passages.put(key, JsonLine.texts(reader, key));
    }
  }
}
