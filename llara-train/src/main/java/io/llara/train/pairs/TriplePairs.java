package io.llara.train.pairs;

import io.llara.io.LineReader;
import io.llara.retrieval.Document;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Triples as those of MS MARCO: query, positive and negative passage, separated by tabs, one triple
 * a line, plain or gzipped. They are texts ({@code triples.train.small.tsv}) or ids ({@code
 * qidpidtriples.train.full.2.tsv}). Triples that follow one another and have the same query and
 * positive become one pair.
 */
public final class TriplePairs extends PairSource {
  private static final String TEXTS = "query, positive and negative passage, separated by tabs";

  private final List<Path> files;
  private final Optional<Sources> sources;

  /** Where the ids lead. */
  private record Sources(Path corpus, Path queries) {}

  private TriplePairs(List<Path> files, Optional<Sources> sources) {
    this.files = List.copyOf(files);
    this.sources = sources;
  }

  /** Returns the pairs of triples of texts. */
  public static TriplePairs ofTexts(List<Path> files) {
    return new TriplePairs(files, Optional.empty());
  }

  /**
   * Returns the pairs of triples of ids.
   *
   * @param corpus the passages, in one of the forms that {@link io.llara.retrieval.Corpus} reads
   * @param queries the queries, likewise
   */
  public static TriplePairs ofIds(List<Path> files, Path corpus, Path queries) {
    return new TriplePairs(files, Optional.of(new Sources(corpus, queries)));
  }

  /** How a field becomes a text. */
  private interface Lookup {
    String text(String field, LineReader line);
  }

  @Override
  void read(PairSink sink) throws IOException {
    if (sources.isEmpty()) {
      read(sink, (field, line) -> field, (field, line) -> field);
      return;
    }
    for (Path file : files) {
      LineReader.requireFile(file, "triples: " + TEXTS);
    }
    try (TextStore queries = TextStore.read(sources.get().queries(), Document::text);
        TextStore passages = TextStore.read(sources.get().corpus(), Document::passage)) {
      read(
          sink,
          (id, line) -> known(queries, "query", id, line),
          (id, line) -> known(passages, "passage", id, line));
    }
  }

  private static String known(TextStore store, String what, String id, LineReader line) {
    String text = store.get(id);
    if (text == null) {
      throw line.error("names the %s '%s', which %s does not have".formatted(what, id, store));
    }
    return text;
  }

  private void read(PairSink sink, Lookup queries, Lookup passages) throws IOException {
    String query = "";
    String positive = "";
    List<String> negatives = new ArrayList<>();
    for (Path file : files) {
      try (LineReader lines = LineReader.open(file, "triples: " + TEXTS)) {
        while (lines.advanceToText()) {
          String[] fields = lines.line().split("\t", -1);
          if (fields.length != 3) {
            throw lines.error(
                "has %d %s; expected %s"
                    .formatted(fields.length, fields.length == 1 ? "field" : "fields", TEXTS));
          }
          String nextQuery = queries.text(field(fields, 0, lines), lines);
          String nextPositive = passages.text(field(fields, 1, lines), lines);
          if (!nextQuery.equals(query) || !nextPositive.equals(positive)) {
            flush(sink, query, positive, negatives);
            query = nextQuery;
            positive = nextPositive;
          }
          negatives.add(passages.text(field(fields, 2, lines), lines));
        }
      }
    }
    flush(sink, query, positive, negatives);
  }

  private static String field(String[] fields, int index, LineReader lines) {
    String field = fields[index].strip();
    if (field.isEmpty()) {
      throw lines.error("has an empty field; expected " + TEXTS);
    }
    return field;
  }

  private static void flush(PairSink sink, String query, String positive, List<String> negatives)
      throws IOException {
    if (!negatives.isEmpty()) {
      sink.add(query, List.of(positive), negatives);
      negatives.clear();
    }
  }

  /** Returns the files. */
  @Override
  public String toString() {
    return files.toString();
  }
}
