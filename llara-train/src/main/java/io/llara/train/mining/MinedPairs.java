package io.llara.train.mining;

import com.google.gson.stream.JsonWriter;
import io.llara.checkpoint.AtomicFiles;
import io.llara.train.data.TrainingPair;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.zip.GZIPOutputStream;
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
    AtomicFiles.write(
        file,
        channel -> {
          OutputStream bytes = Channels.newOutputStream(channel);
          if (zipped(file)) {
            GZIPOutputStream zip = new GZIPOutputStream(bytes, 1 << 16);
            write(zip, content);
            zip.finish();
          } else {
            write(bytes, content);
          }
        });
  }

  private static boolean zipped(Path file) {
    return file.toString().toLowerCase(Locale.ROOT).endsWith(".gz");
  }

  private static void write(OutputStream bytes, Content content) throws IOException {
    // Not closed: the channel is forced to disk first.
    Writer text =
        new BufferedWriter(new OutputStreamWriter(bytes, StandardCharsets.UTF_8), 1 << 16);
    try {
      content.writeTo(
          (pair, positives, negatives) -> {
            try {
              line(text, pair, positives, negatives);
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    text.flush();
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
