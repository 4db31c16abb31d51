package io.llara.train.mining;

import com.google.gson.stream.JsonWriter;
import io.llara.io.AtomicFiles;
import io.llara.train.data.TrainingPair;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The file of pairs with their negatives. */
final class MinedPairs {

  /**
   * A passage of a pair.
   *
   * @param text what it says
   * @param id the id of its document, or null if it is not in the collection
   * @param score what the search gave it, or null if it was not asked
   */
  record Passage(String text, @Nullable String id, @Nullable Double score) {}

  /** Takes the lines. */
  interface Lines {
    void add(TrainingPair pair, List<Passage> positives, List<Passage> negatives);
  }

  /** Hands out the lines. */
  interface Content {
    void writeTo(Lines lines);
  }

  private MinedPairs() {}

  /**
   * Writes a file aside and renames it when it is whole; gzipped if its name ends in {@code .gz}.
   *
   * @throws io.llara.LlaraException if it cannot be written
   */
  static void write(Path file, Content content) {
    AtomicFiles.writeText(
        file,
        text -> {
          try {
            content.writeTo((pair, positives, negatives) -> add(text, pair, positives, negatives));
          } catch (UncheckedIOException e) {
            throw e.getCause();
          }
        });
  }

  private static void add(
      Writer text, TrainingPair pair, List<Passage> positives, List<Passage> negatives) {
    try {
      line(text, pair, positives, negatives);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void line(
      Writer out, TrainingPair pair, List<Passage> positives, List<Passage> negatives)
      throws IOException {
    JsonWriter json = new JsonWriter(out);
    json.beginObject();
    json.name("query").value(pair.query());
    strings(json, "pos", positives.stream().map(Passage::text).toList());
    strings(json, "neg", negatives.stream().map(Passage::text).toList());
    ids(json, "pos_ids", positives);
    ids(json, "neg_ids", negatives);
    json.name("neg_scores").beginArray();
    for (Passage negative : negatives) {
      json.value(negative.score());
    }
    json.endArray();
    json.endObject();
    out.write('\n');
  }

  private static void ids(JsonWriter json, String key, List<Passage> passages) throws IOException {
    json.name(key).beginArray();
    for (Passage passage : passages) {
      json.value(passage.id());
    }
    json.endArray();
  }

  private static void strings(JsonWriter json, String key, List<String> values) throws IOException {
    json.name(key).beginArray();
    for (String value : values) {
      json.value(value);
    }
    json.endArray();
  }
}
