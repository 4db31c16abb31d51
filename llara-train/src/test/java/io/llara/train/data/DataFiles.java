package io.llara.train.data;

import com.google.gson.JsonObject;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.zip.GZIPOutputStream;

/** Data files and their lines, for tests. */
final class DataFiles {
  private DataFiles() {}

  /** Writes lines to a file, packed if its name ends in .gz. */
  static Path write(Path file, String... lines) throws IOException {
    byte[] bytes = (String.join("\n", lines) + "\n").getBytes(StandardCharsets.UTF_8);
    return Files.write(file, file.toString().endsWith(".gz") ? packed(bytes) : bytes);
  }

  static byte[] packed(byte[] bytes) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
      gzip.write(bytes);
    }
    return out.toByteArray();
  }

  static String pair(String input, String self, String next) {
    JsonObject line = new JsonObject();
    line.addProperty("input", input);
    line.addProperty("output_summarize", self);
    line.addProperty("output_predict", next);
    return line.toString();
  }

  static String document(String id, String text) {
    JsonObject line = new JsonObject();
    line.addProperty("id", id);
    line.addProperty("title", "Title of " + id);
    line.addProperty("text", text);
    return line.toString();
  }

  /** Writes pairs whose texts are "text 0", "text 1" and so on. */
  static Path pairs(Path file, int count) throws IOException {
    String[] lines = new String[count];
    for (int i = 0; i < count; i++) {
      lines[i] = pair("text " + i, "self " + i, "next " + i);
    }
    return write(file, lines);
  }

  /** Returns the texts of files of pairs, their targets stripped of English stop words. */
  static Dataset<TrainingText> texts(Path... files) {
    return Dataset.ofTexts(
        List.of(files), new TextFormat(Optional.empty(), Optional.of(StopWords.english()), false));
  }

  static <T> List<T> readAll(Dataset<T> dataset) {
    List<T> examples = new ArrayList<>();
    try (DatasetReader<T> reader = dataset.open()) {
      reader.forEachRemaining(examples::add);
    }
    return examples;
  }

  static List<String> texts(List<TrainingText> texts) {
    return texts.stream().map(TrainingText::text).toList();
  }
}
