package io.llara.train.mining;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.retrieval.Corpus;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPInputStream;

/** Pairs and collections in files, for tests. */
final class MiningFiles {
  private MiningFiles() {}

  static String pair(String query, List<String> positives, List<String> negatives) {
    JsonObject json = new JsonObject();
    json.addProperty("query", query);
    json.add("pos", array(positives));
    json.add("neg", array(negatives));
    return json.toString();
  }

  static String pair(String query, String... positives) {
    return pair(query, List.of(positives), List.of());
  }

  private static JsonArray array(List<String> strings) {
    JsonArray array = new JsonArray();
    strings.forEach(array::add);
    return array;
  }

  static Dataset<TrainingPair> pairs(Path file, String... lines) throws IOException {
    return Dataset.ofPairs(List.of(Files.write(file, List.of(lines))));
  }

  static String document(String id, String title, String text) {
    JsonObject json = new JsonObject();
    json.addProperty("_id", id);
    json.addProperty("title", title);
    json.addProperty("text", text);
    return json.toString();
  }

  static String document(String id, String text) {
    return document(id, "", text);
  }

  static Corpus corpus(String... lines) {
    byte[] bytes = String.join("\n", lines).getBytes(StandardCharsets.UTF_8);
    return new Corpus("the corpus", () -> new ByteArrayInputStream(bytes));
  }

  /** Reads a file of pairs that was mined. */
  static List<JsonObject> read(Path file) throws IOException {
    try (InputStream bytes = Files.newInputStream(file)) {
      InputStream plain = file.toString().endsWith(".gz") ? new GZIPInputStream(bytes) : bytes;
      List<JsonObject> lines = new ArrayList<>();
      new String(plain.readAllBytes(), StandardCharsets.UTF_8)
          .lines()
          .forEach(line -> lines.add(JsonParser.parseString(line).getAsJsonObject()));
      return lines;
    }
  }

  /** Returns the strings of a list; null for null. */
  static List<String> strings(JsonObject line, String key) {
    List<String> strings = new ArrayList<>();
    line.getAsJsonArray(key)
        .forEach(value -> strings.add(value.isJsonNull() ? null : value.getAsString()));
    return strings;
  }
}
