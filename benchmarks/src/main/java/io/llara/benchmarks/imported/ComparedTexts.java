package io.llara.benchmarks.imported;

import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;

/** The texts that tokenizers and models are compared on, the same at every call. */
public final class ComparedTexts {
  private static final String WIKIPEDIA = "wikipedia-en-sample.jsonl.gz";
  private static final Predicate<String> CJK =
      Pattern.compile("[\\u3040-\\u30ff\\u4e00-\\u9fff\\uac00-\\ud7a3]").asPredicate();
  private static final Predicate<String> SYMBOLS =
      Pattern.compile("[\\u2190-\\u2bff]").asPredicate();

  private ComparedTexts() {}

  /** Returns the hundred lines written for it: emoji, white space, digits, scripts. */
  public static List<String> written() throws IOException {
    InputStream in = Objects.requireNonNull(ComparedTexts.class.getResourceAsStream("lines.jsonl"));
    List<String> lines = new ArrayList<>();
    try (BufferedReader reader = reader(in)) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        lines.add(JsonParser.parseString(line).getAsString());
      }
    }
    return lines;
  }

  /**
   * Returns a thousand different lines of the shared texts: 300 with Chinese, Japanese or Korean
   * characters, 100 with arrows, mathematical and other symbols, and 300, 150 and 150 from the
   * whole of Wikipedia, textbooks and fiction.
   *
   * @param folder {@code data/text} of the shared folder
   */
  public static List<String> shared(Path folder) throws IOException {
    List<String> wikipedia = lines(folder.resolve(WIKIPEDIA));
    Set<String> texts = new LinkedHashSet<>();
    spread(wikipedia.stream().filter(CJK).toList(), 300, texts);
    spread(wikipedia.stream().filter(SYMBOLS).toList(), 100, texts);
    spread(wikipedia, 300, texts);
    spread(lines(folder.resolve("openstax-ccby.jsonl.gz")), 150, texts);
    spread(lines(folder.resolve("gutenberg-litbank.jsonl.gz")), 150, texts);
    return List.copyOf(texts);
  }

  /** Adds so many lines that are not there yet, from all parts of a list. */
  private static void spread(List<String> lines, int count, Set<String> texts) {
    int before = texts.size();
    double step = (double) lines.size() / count;
    for (int i = 0; texts.size() < before + count; i++) {
      texts.add(lines.get((int) (i * step) % lines.size()));
      // Where a line was there already, one after it makes up for it.
      for (int next = 1; texts.size() < before + Math.min(count, i + 1); next++) {
        texts.add(lines.get(((int) (i * step) + next) % lines.size()));
      }
    }
  }

  /** Returns the paragraphs of all documents. */
  private static List<String> lines(Path file) throws IOException {
    List<String> lines = new ArrayList<>();
    for (String document : documents(file, Integer.MAX_VALUE)) {
      document.lines().filter(line -> !line.isEmpty()).forEach(lines::add);
    }
    return lines;
  }

  /** Returns the texts of the first documents of a file with one JSON object a line. */
  static List<String> documents(Path file, int most) throws IOException {
    List<String> documents = new ArrayList<>();
    try (BufferedReader reader = reader(new GZIPInputStream(Files.newInputStream(file)))) {
      for (String line = reader.readLine();
          line != null && documents.size() < most;
          line = reader.readLine()) {
        documents.add(JsonParser.parseString(line).getAsJsonObject().get("text").getAsString());
      }
    }
    return documents;
  }

  private static BufferedReader reader(InputStream in) {
    Reader characters = new InputStreamReader(in, StandardCharsets.UTF_8);
    return new BufferedReader(characters);
  }
}
