package io.llara.retrieval.eval;

import io.llara.LlaraException;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.Document;
import io.llara.retrieval.DocumentReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * A test collection: a folder in BEIR format (Thakur et al., arXiv 2104.08663), with {@code
 * corpus.jsonl}, {@code queries.jsonl} and {@code qrels/SPLIT.tsv}, each of which may be gzipped
 * and then ends in {@code .gz}; or {@linkplain CollectionFiles other files}.
 *
 * <p>Documents with neither title nor text are left out. A judged query that is unknown or has no
 * text cannot be searched for, and counts as one for which nothing was found; a judged document
 * that is unknown counts as one that was not found. Both are what {@code trec_eval -c} makes of
 * them. {@link #findings} names them all.
 *
 * <p>Queries and judgements lie in memory, the documents do not. Immutable.
 *
 * @param name what it is called, such as the folder's name
 * @param corpus the documents
 * @param summary what was found when the documents were read
 * @param qrels the judgements of the split
 * @param queries the texts of the judged queries that have one, by id, in the judgements' order
 * @param findings what is amiss
 */
public record BeirDataset(
    String name,
    Corpus corpus,
    Corpus.Summary summary,
    Qrels qrels,
    Map<String, String> queries,
    Findings findings) {
  /** How many ids a warning names. */
  private static final int NAMED = 20;

  /**
   * What is amiss with a collection, and does no harm.
   *
   * @param blankDocuments the ids of documents with neither title nor text
   * @param blankQueries the ids of judged queries without text
   * @param unknownDocuments the ids of judged documents that the collection does not have
   * @param unknownQueries the ids of judged queries that it does not have
   */
  public record Findings(
      List<String> blankDocuments,
      List<String> blankQueries,
      List<String> unknownDocuments,
      List<String> unknownQueries) {
    /** Copies the lists. */
    public Findings {
      blankDocuments = List.copyOf(blankDocuments);
      blankQueries = List.copyOf(blankQueries);
      unknownDocuments = List.copyOf(unknownDocuments);
      unknownQueries = List.copyOf(unknownQueries);
    }

    /** Returns a sentence for each kind, with the number and at most twenty ids. */
    public List<String> warnings() {
      List<String> warnings = new ArrayList<>();
      warn(warnings, "skipped documents with neither title nor text", blankDocuments);
      warn(
          warnings,
          "judged documents that the corpus does not have, counted as not found",
          unknownDocuments);
      warn(
          warnings,
          "judged queries that the queries file does not have, counted as 0",
          unknownQueries);
      warn(warnings, "judged queries without text, counted as 0", blankQueries);
      return warnings;
    }

    private static void warn(List<String> warnings, String what, List<String> ids) {
      if (!ids.isEmpty()) {
        warnings.add(
            "%s: %d (%s%s)"
                .formatted(
                    what,
                    ids.size(),
                    ids.stream().limit(NAMED).collect(Collectors.joining(", ")),
                    ids.size() > NAMED ? ", …" : ""));
      }
    }
  }

  /** Copies the map, in its order. */
  public BeirDataset {
    queries = Collections.unmodifiableMap(new LinkedHashMap<>(queries));
  }

  /**
   * Opens a collection. Its documents are read once from start to end, so that what is wrong with
   * them shows before work begins.
   *
   * @param split whose judgements are read: {@code test}, {@code dev}, {@code train}
   * @throws LlaraException naming file and line if a file is missing or is not what it should be,
   *     if a document's or a query's id is repeated, or if nothing is left to search or to find
   */
  public static BeirDataset open(Path directory, String split) {
    CollectionFiles files = CollectionFiles.ofBeir(directory, split);
    return open(name(directory), files);
  }

  /** Returns the name of a folder, as its collection has it. */
  static String name(Path directory) {
    Path folder = directory.toAbsolutePath().normalize();
    return (folder.getFileName() == null ? folder : folder.getFileName()).toString();
  }

  /**
   * Opens the collection in some files, as {@link #open(Path, String)}.
   *
   * @param name what it is called
   */
  public static BeirDataset open(String name, CollectionFiles files) {
    Path qrelsFile = files.qrels();
    Path queriesFile = files.queries();
    Path corpusFile = files.corpus();
    Qrels qrels = Qrels.read(qrelsFile);
    if (qrels.queryIds().isEmpty()) {
      throw new LlaraException(qrelsFile + ": contains no judgements");
    }
    Map<String, String> texts = readQueries(queriesFile);
    Map<String, String> searched = new LinkedHashMap<>();
    List<String> blank = new ArrayList<>();
    List<String> unknown = new ArrayList<>();
    for (String id : qrels.queryIds()) {
      String text = texts.get(id);
      if (text == null) {
        unknown.add(id);
      } else if (text.isBlank()) {
        blank.add(id);
      } else {
        searched.put(id, text);
      }
    }
    if (searched.isEmpty()) {
      throw new LlaraException(
          "%s: has a text for none of the %d queries that %s judges"
              .formatted(queriesFile, qrels.queryIds().size(), qrelsFile));
    }
    Corpus corpus = Corpus.of(corpusFile);
    Set<String> unknownDocuments = new LinkedHashSet<>(qrels.documentIds());
    Corpus.Summary summary =
        corpus.summarizeUnique(document -> unknownDocuments.remove(document.id()));
    Findings findings =
        new Findings(summary.blankIds(), blank, List.copyOf(unknownDocuments), unknown);
    return new BeirDataset(name, corpus, summary, qrels, searched, findings);
  }

  /** Returns the texts of queries by their ids, in the order of the file; some may be blank. */
  private static Map<String, String> readQueries(Path file) {
    Map<String, String> texts = new LinkedHashMap<>();
    Map<String, Long> numbers = new HashMap<>();
    try (DocumentReader queries = DocumentReader.open(file)) {
      for (Document query = queries.next(); query != null; query = queries.next()) {
        texts.put(query.id(), query.text());
        Long before = numbers.putIfAbsent(query.id(), queries.lines().number());
        if (before != null) {
          throw queries
              .lines()
              .error("repeats the id '%s' of line %d".formatted(query.id(), before));
        }
      }
    }
    return texts;
  }
}
