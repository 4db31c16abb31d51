package io.llara.retrieval.eval;

import io.llara.LlaraException;
import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;

/**
 * Relevance judgements: the grade of a document for a query. A document with a grade of 1 or more
 * is relevant, unless a measure is told to begin at a higher one; one that was not judged has none
 * and counts as 0. Immutable.
 */
public final class Qrels {
  private static final String QUERY = "query-id";
  private static final String BEIR = "query-id, corpus-id and score, separated by tabs";
  private static final String TREC = "query-id, 0, document-id and grade";
  private static final String FORMS = BEIR + " under a header of these names, or " + TREC;

  private final Map<String, Map<String, Integer>> grades;

  private Qrels(Map<String, Map<String, Integer>> grades) {
    this.grades = grades;
  }

  /**
   * Returns judgements.
   *
   * @param grades for each query the grades of the documents that were judged for it
   */
  public static Qrels of(Map<String, Map<String, Integer>> grades) {
    Map<String, Map<String, Integer>> copy = new LinkedHashMap<>();
    grades.forEach((query, judged) -> copy.put(query, new LinkedHashMap<>(judged)));
    return new Qrels(copy);
  }

  /**
   * Reads judgements, plain or gzipped, in one of these forms: BEIR's, tab-separated values with
   * the header {@code query-id corpus-id score}; the same without scores, which then are 1, as in
   * NanoBEIR; JSON objects with these keys; or that of TREC and MS MARCO, {@code query-id 0
   * document-id grade} separated by white space, without a header. A judgement that is repeated
   * says nothing new.
   *
   * @throws LlaraException naming file and line if a line is something else, or contradicts an
   *     earlier one
   */
  public static Qrels read(Path file) {
    Map<String, Map<String, Integer>> grades = new LinkedHashMap<>();
    read(
        file,
        (lines, judgement) -> {
          Integer other =
              grades
                  .computeIfAbsent(judgement.query(), query -> new LinkedHashMap<>(2))
                  .putIfAbsent(judgement.document(), judgement.grade());
          if (other != null && other != judgement.grade()) {
            throw lines.error(
                "judges document '%s' for query '%s' as %d; line %d judges it as %d"
                    .formatted(
                        judgement.document(),
                        judgement.query(),
                        judgement.grade(),
                        line(file, judgement.query(), judgement.document()),
                        other));
          }
        });
    return new Qrels(grades);
  }

  /**
   * Returns the number of the first line of a file that judges a document for a query, or 0.
   *
   * @throws LlaraException as {@link #read}
   */
  public static long line(Path file, String query, String document) {
    long[] found = {0};
    read(
        file,
        (lines, judgement) -> {
          if (found[0] == 0
              && judgement.query().equals(query)
              && judgement.document().equals(document)) {
            found[0] = lines.number();
          }
        });
    return found[0];
  }

  /** A line. */
  private record Judgement(String query, String document, int grade) {}

  private static void read(Path file, BiConsumer<LineReader, Judgement> receiver) {
    try (LineReader lines = LineReader.open(file, "judgements: " + BEIR)) {
      if (!lines.advanceToText()) {
        throw new LlaraException("%s: is empty; expected judgements: %s".formatted(file, FORMS));
      }
      if (lines.line().startsWith("{")) {
        do {
          JsonSection json = lines.json();
          receiver.accept(
              lines,
              new Judgement(
                  json.requiredText(QUERY),
                  json.requiredText("corpus-id"),
                  json.optionalInt("score").orElse(1)));
        } while (lines.advanceToText());
        return;
      }
      if (isTrec(lines.line())) {
        do {
          String[] fields = fields(lines, "\\s+", 4, TREC);
          receiver.accept(lines, judgement(lines, fields[0], fields[2], fields[3]));
        } while (lines.advanceToText());
        return;
      }
      if (lines.line().split("\t", -1).length == 2 && lines.line().startsWith(QUERY)) {
        while (lines.advanceToText()) {
          String[] fields = fields(lines, "\t", 2, "query-id and corpus-id");
          receiver.accept(lines, new Judgement(fields[0], fields[1], 1));
        }
        return;
      }
      if (isWholeNumber(fields(lines, "\t", 3, FORMS)[2])) {
        throw lines.error(
            "is a judgement; expected the header query-id, corpus-id, score before the first one");
      }
      while (lines.advanceToText()) {
        String[] fields = fields(lines, "\t", 3, BEIR);
        receiver.accept(lines, judgement(lines, fields[0], fields[1], fields[2]));
      }
    }
  }

  private static boolean isTrec(String line) {
    String[] fields = line.strip().split("\\s+");
    return fields.length == 4 && isWholeNumber(fields[3]) && line.split("\t", -1).length != 3;
  }

  private static Judgement judgement(
      LineReader lines, String query, String document, String grade) {
    if (!isWholeNumber(grade)) {
      throw lines.error("has the score '%s'; expected a whole number".formatted(grade));
    }
    return new Judgement(query, document, Integer.parseInt(grade));
  }

  private static String[] fields(LineReader lines, String separator, int count, String expected) {
    String line = lines.line();
    String[] fields = (separator.equals("\t") ? line : line.strip()).split(separator, -1);
    if (fields.length != count) {
      throw lines.error("has %d fields; expected %s".formatted(fields.length, expected));
    }
    for (int i = 0; i < fields.length; i++) {
      fields[i] = fields[i].strip();
      if (fields[i].isEmpty()) {
        throw lines.error("has an empty field; expected " + expected);
      }
    }
    return fields;
  }

  private static boolean isWholeNumber(String field) {
    try {
      Integer.parseInt(field);
      return true;
    } catch (NumberFormatException e) {
      return false;
    }
  }

  /** Returns the queries that were judged, in the order of the file. */
  public Set<String> queryIds() {
    return Collections.unmodifiableSet(grades.keySet());
  }

  /** Returns all documents that were judged for some query, in the order of the file. */
  public Set<String> documentIds() {
    Set<String> ids = new LinkedHashSet<>();
    grades.values().forEach(judged -> ids.addAll(judged.keySet()));
    return ids;
  }

  /** Returns the grades of the documents that were judged for a query; none if it was not. */
  public Map<String, Integer> grades(String queryId) {
    return Collections.unmodifiableMap(grades.getOrDefault(queryId, Map.of()));
  }

  /** Returns how many judgements there are. */
  public int size() {
    return grades.values().stream().mapToInt(Map::size).sum();
  }
}
