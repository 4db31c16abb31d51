package io.llara.retrieval.eval;

import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.LineReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Run files as trec_eval reads them: a line {@code query-id Q0 document-id rank score run-name} for
 * each document found.
 */
public final class TrecRun {
  private static final String FORM = "query-id Q0 document-id rank score run-name";

  private TrecRun() {}

  /**
   * Writes a run. Ranks count from 1 in the order of {@link Ranking}; scores are exact. A file of
   * that name is replaced at once, or not at all.
   *
   * @throws LlaraException if the file cannot be written, or a name or an id cannot stand in such a
   *     file: it is empty or has a space
   */
  public static void write(Path file, Run run) {
    requireWord(file, "the run's name", run.name());
    run.rankings()
        .forEach(
            (query, ranking) -> {
              requireWord(file, "the query id", query);
              ranking.documents().forEach(hit -> requireWord(file, "the document id", hit.id()));
            });
    AtomicFiles.write(
        file,
        channel -> {
          // Not closed: the channel is forced to disk first.
          Writer text = Channels.newWriter(channel, StandardCharsets.UTF_8);
          for (Map.Entry<String, Ranking> entry : run.rankings().entrySet()) {
            write(text, entry.getKey(), entry.getValue(), run.name());
          }
          text.flush();
        });
  }

  private static void write(Writer text, String query, Ranking ranking, String name)
      throws IOException {
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
   * Reads a run, plain or gzipped. As with trec_eval the scores tell the order, not the ranks; the
   * run's name is that of the last line.
   *
   * @throws LlaraException naming file and line if a line is something else, or a document is there
   *     twice for a query
   */
  public static Run read(Path file) {
    Map<String, List<ScoredDocument>> found = new LinkedHashMap<>();
    Map<String, Map<String, Long>> numbers = new HashMap<>();
    String name = "";
    try (LineReader lines = LineReader.open(file, "a run: " + FORM)) {
      while (lines.advanceToText()) {
        String[] fields = lines.line().strip().split("\\s+");
        if (fields.length != 6) {
          throw lines.error("has %d fields; expected %s".formatted(fields.length, FORM));
        }
        Long before =
            numbers
                .computeIfAbsent(fields[0], query -> new HashMap<>())
                .putIfAbsent(fields[2], lines.number());
        if (before != null) {
          throw lines.error(
              "has document '%s' for query '%s' again; line %d has it"
                  .formatted(fields[2], fields[0], before));
        }
        found
            .computeIfAbsent(fields[0], query -> new ArrayList<>())
            .add(new ScoredDocument(fields[2], score(lines, fields[4])));
        name = fields[5];
      }
    }
    Map<String, Ranking> rankings = new LinkedHashMap<>();
    found.forEach((query, documents) -> rankings.put(query, new Ranking(documents)));
    return new Run(name, rankings);
  }

  private static float score(LineReader lines, String field) {
    float score;
    try {
      score = Float.parseFloat(field);
    } catch (NumberFormatException e) {
      score = Float.NaN;
    }
    if (!Float.isFinite(score)) {
      throw lines.error("has the score '%s'; expected a finite number".formatted(field));
    }
    return score;
  }
}
