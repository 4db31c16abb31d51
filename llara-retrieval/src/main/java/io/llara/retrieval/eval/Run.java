package io.llara.retrieval.eval;

import com.google.common.primitives.Floats;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.LineReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a system found for each of many queries. Run files are as trec_eval reads them: a line
 * {@code query-id Q0 document-id rank score run-name} for each document found.
 *
 * @param name the system's
 * @param rankings by the id of the query
 */
public record Run(String name, Map<String, Ranking> rankings) {
  private static final String FORM = "query-id Q0 document-id rank score run-name";

  /** Copies the rankings, in their order. */
  public Run {
    rankings = Collections.unmodifiableMap(new LinkedHashMap<>(rankings));
  }

  /** Returns the ranking for a query; an empty one if there is none. */
  public Ranking ranking(String queryId) {
    return rankings.getOrDefault(queryId, Ranking.EMPTY);
  }

  /**
   * Writes a run file. Ranks count from 1 in the order of {@link Ranking}; scores are exact. A file
   * of that name is replaced at once, or not at all.
   *
   * @throws LlaraException if the file cannot be written, or a name or an id cannot stand in such a
   *     file: it is empty or has a space
   */
  public void write(Path file) {
    requireWord(file, "the run's name", name);
    rankings.forEach(
        (query, ranking) -> {
          requireWord(file, "the query id", query);
          ranking.documents().forEach(hit -> requireWord(file, "the document id", hit.id()));
        });
    AtomicFiles.writeText(
        file,
        text -> {
          for (Map.Entry<String, Ranking> entry : rankings.entrySet()) {
            write(text, entry.getKey(), entry.getValue());
          }
        });
  }

  private void write(Writer text, String query, Ranking ranking) throws IOException {
    int rank = 0;
    for (ScoredDocument hit : ranking.documents()) {
      rank++;
      text.write(
          "%s Q0 %s %d %s %s\n"
              .formatted(query, hit.id(), rank, Float.toString(hit.score()), name));
    }
  }

  private static void requireWord(Path file, String what, String value) {
    if (value.isEmpty() || value.chars().anyMatch(c -> Character.isWhitespace(c) || c == 0)) {
      throw new LlaraException(
          "%s: cannot be written: %s '%s' is empty or has a space, which a run file does not allow"
              .formatted(file, what, value));
    }
  }

  /**
   * Reads a run file, plain or gzipped. As with trec_eval the scores decide the order, not the
   * ranks; the run's name is that of the last line.
   *
   * @throws LlaraException naming file and line if a line is something else, or a document is there
   *     twice for a query
   */
  public static Run read(Path file) {
    Map<String, List<ScoredDocument>> found = new LinkedHashMap<>();
    Map<String, Map<String, Long>> numbers = new HashMap<>();
    String name = "";
    try (LineReader lines = open(file)) {
      while (lines.advanceToText()) {
        String[] fields = fields(lines);
        add(
            found.computeIfAbsent(fields[0], query -> new ArrayList<>()),
            numbers.computeIfAbsent(fields[0], query -> new HashMap<>()),
            lines,
            fields);
        name = fields[5];
      }
    }
    Map<String, Ranking> rankings = new LinkedHashMap<>();
    found.forEach((query, documents) -> rankings.put(query, new Ranking(documents)));
    return new Run(name, rankings);
  }

  /** What was found for one query of a run file. */
  @FunctionalInterface
  public interface Receiver {
    /**
     * Takes what was found for a query.
     *
     * @param line the number of its first line
     */
    void accept(String query, Ranking ranking, long line);
  }

  /**
   * Reads a run file one query at a time, as {@link #read}: it may be larger than memory. The lines
   * of a query are expected to follow one another; where they do not, the query comes more than
   * once.
   *
   * @throws LlaraException as {@link #read}
   */
  public static void stream(Path file, Receiver receiver) {
    List<ScoredDocument> documents = new ArrayList<>();
    Map<String, Long> numbers = new HashMap<>();
    String query = "";
    long first = 0;
    try (LineReader lines = open(file)) {
      while (lines.advanceToText()) {
        String[] fields = fields(lines);
        if (!fields[0].equals(query)) {
          if (first > 0) {
            receiver.accept(query, new Ranking(documents), first);
          }
          query = fields[0];
          first = lines.number();
          documents.clear();
          numbers.clear();
        }
        add(documents, numbers, lines, fields);
      }
    }
    if (first > 0) {
      receiver.accept(query, new Ranking(documents), first);
    }
  }

  /**
   * Returns the number of the first line of a run file that lists a document for a query, or 0.
   *
   * @throws LlaraException as {@link #read}
   */
  public static long line(Path file, String query, String document) {
    try (LineReader lines = open(file)) {
      while (lines.advanceToText()) {
        String[] fields = fields(lines);
        if (fields[0].equals(query) && fields[2].equals(document)) {
          return lines.number();
        }
      }
    }
    return 0;
  }

  private static LineReader open(Path file) {
    return LineReader.open(file, "a run: " + FORM);
  }

  private static String[] fields(LineReader lines) {
    String[] fields = lines.line().strip().split("\\s+");
    if (fields.length != 6) {
      throw lines.error("has %d fields; expected %s".formatted(fields.length, FORM));
    }
    return fields;
  }

  private static void add(
      List<ScoredDocument> documents,
      Map<String, Long> numbers,
      LineReader lines,
      String[] fields) {
    Long before = numbers.putIfAbsent(fields[2], lines.number());
    if (before != null) {
      throw lines.error(
          "lists document '%s' for query '%s' again; it is already on line %d"
              .formatted(fields[2], fields[0], before));
    }
    documents.add(new ScoredDocument(fields[2], score(lines, fields[4])));
  }

  private static float score(LineReader lines, String field) {
    Float score = Floats.tryParse(field);
    if (score == null || !Float.isFinite(score)) {
      throw lines.error("has the score '%s'; expected a finite number".formatted(field));
    }
    return score;
  }
}
