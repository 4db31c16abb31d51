package io.llara.train.mining;

import com.google.gson.stream.JsonWriter;
import io.llara.train.data.TrainingPair;
import java.io.IOException;
import java.io.Writer;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The lines of a file of pairs with their negatives. */
final class MinedPairs {

  /**
   * A passage of a pair.
   *
   * @param id the id of its document, or null if it is not in the collection
   * @param score what the search gave it, or null if it was not searched for
   */
  record Passage(String text, @Nullable String id, @Nullable Double score) {}

  private MinedPairs() {}

  static void write(Writer out, TrainingPair pair, List<Passage> positives, List<Passage> negatives)
      throws IOException {
    JsonWriter json = new JsonWriter(out);
    json.beginObject();
    json.name("query").value(pair.query());
    strings(json, "pos", positives, Passage::text);
    strings(json, "neg", negatives, Passage::text);
    strings(json, "pos_ids", positives, Passage::id);
    strings(json, "neg_ids", negatives, Passage::id);
    json.name("neg_scores").beginArray();
    for (Passage negative : negatives) {
      json.value(negative.score());
    }
    json.endArray();
    json.endObject();
    out.write('\n');
  }

  private static void strings(
      JsonWriter json,
      String key,
      List<Passage> passages,
      Function<Passage, @Nullable String> value)
      throws IOException {
    json.name(key).beginArray();
    for (Passage passage : passages) {
      json.value(value.apply(passage));
    }
    json.endArray();
  }
}
