package io.llara.train.pairs;

import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import io.llara.retrieval.Document;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * JSON lines that other libraries train on, plain or gzipped; files may mix the forms, and other
 * keys are passed over:
 *
 * <ul>
 *   <li>Tevatron: {@code {"query": …, "positive_passages": [{"title": …, "text": …}, …],
 *       "negative_passages": [ … ]}}; a passage is its title and text with a space between them.
 *   <li>sentence-transformers: {@code {"anchor": …, "positive": …, "negative": …}}, the first also
 *       called {@code query}; further negatives are {@code negative_1}, {@code negative_2} and so
 *       on, or a list; there may be none.
 *   <li>This library's own: {@code {"query": …, "pos": [ … ], "neg": [ … ]}}.
 * </ul>
 */
public final class PairLines extends PairSource {
  private static final String TEVATRON = "positive_passages";
  private static final String POSITIVE = "positive";
  private static final String NEGATIVE = "negative";

  private final List<Path> files;

  private PairLines(List<Path> files) {
    this.files = List.copyOf(files);
  }

  /** Returns the pairs of files, in this order. */
  public static PairLines of(List<Path> files) {
    return new PairLines(files);
  }

  @Override
  void read(PairSink sink) throws IOException {
    for (Path file : files) {
      try (LineReader lines = LineReader.open(file, "JSON lines of pairs")) {
        while (lines.advanceToText()) {
          read(lines.json(), sink);
        }
      }
    }
  }

  private static void read(JsonSection json, PairSink sink) throws IOException {
    if (json.mentions(TEVATRON)) {
      sink.add(
          json.requiredString("query"),
          passages(json, TEVATRON),
          passages(json, "negative_passages"));
    } else if (json.mentions(POSITIVE)) {
      String anchor = json.mentions("anchor") ? "anchor" : "query";
      List<String> negatives = new ArrayList<>();
      for (String key : json.keys()) {
        if (key.equals(NEGATIVE) || key.matches("negative_\\d+")) {
          negatives.addAll(texts(json, key));
        }
      }
      sink.add(json.requiredString(anchor), texts(json, POSITIVE), negatives);
    } else if (json.mentions("pos")) {
      sink.add(
          json.requiredString("query"),
          json.strings("pos").orElse(List.of()),
          json.strings("neg").orElse(List.of()));
    } else {
      throw json.missing(TEVATRON, "it, 'positive' beside 'anchor', or 'pos'");
    }
  }

  private static List<String> passages(JsonSection json, String key) {
    return json.sections(key).orElse(List.of()).stream()
        .map(
            passage ->
                new Document("", passage.string("title").orElse(""), passage.requiredOrNull("text"))
                    .passage())
        .toList();
  }

  private static List<String> texts(JsonSection json, String key) {
    return json.isString(key)
        ? List.of(json.requiredString(key))
        : json.strings(key).orElse(List.of());
  }

  /** Returns the files. */
  @Override
  public String toString() {
    return files.toString();
  }
}
