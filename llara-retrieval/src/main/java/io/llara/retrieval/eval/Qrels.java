package io.llara.retrieval.eval;

import io.llara.LlaraException;
import io.llara.io.LineReader;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;

/**
 * Relevance judgements: the grade of a document for a query. A document with a grade of 1 or more
 * is relevant; one that was not judged has none and counts as 0. Immutable.
 */
public final class Qrels {
  private static final String FORM = "query-id, corpus-id and score, separated by tabs";

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
   * Reads judgements in BEIR's form: tab-separated values, plain or gzipped, with the header {@code
   * query-id corpus-id score}. A judgement that is repeated says nothing new.
   *
   * @throws LlaraException naming file and line if a line is something else, or contradicts an
   *     earlier one
   */
  public static Qrels read(Path file) {
    Map<String, Map<String, Integer>> grades = new LinkedHashMap<>();
    Map<String, Map<String, Long>> lineNumbers = new HashMap<>();
    try (LineReader lines = LineReader.open(file, "judgements: " + FORM)) {
      if (!lines.advanceToText()) {
        throw new LlaraException(
            "%s: is empty; expected the header query-id, corpus-id, score".formatted(file));
      }
      String[] header = fields(lines);
      if (isWholeNumber(header[2])) {
        throw lines.error(
            "is a judgement; expected the header query-id, corpus-id, score before the first one");
      }
      while (lines.advanceToText()) {
        String[] fields = fields(lines);
        if (!isWholeNumber(fields[2])) {
          throw lines.error("has the score '%s'; expected a whole number".formatted(fields[2]));
        }
        int grade = Integer.parseInt(fields[2]);
        Map<String, Integer> judged =
            grades.computeIfAbsent(fields[0], query -> new LinkedHashMap<>());
        Map<String, Long> numbers = lineNumbers.computeIfAbsent(fields[0], q -> new HashMap<>());
        Long before = numbers.putIfAbsent(fields[1], lines.number());
        Integer other = judged.putIfAbsent(fields[1], grade);
        if (other != null && other != grade) {
          throw lines.error(
              "judges document '%s' for query '%s' as %d; line %d judges it as %d"
                  .formatted(fields[1], fields[0], grade, before, other));
        }
      }
    }
    return new Qrels(grades);
  }

  private static String[] fields(LineReader lines) {
    String[] fields = lines.line().split("\t", -1);
    if (fields.length != 3) {
      throw lines.error("has %d fields; expected %s".formatted(fields.length, FORM));
    }
    for (int i = 0; i < fields.length; i++) {
      fields[i] = fields[i].strip();
      if (fields[i].isEmpty()) {
        throw lines.error("has an empty field; expected " + FORM);
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
