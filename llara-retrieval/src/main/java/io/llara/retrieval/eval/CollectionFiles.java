package io.llara.retrieval.eval;

import io.llara.LlaraException;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The files of a judged collection; each plain or gzipped.
 *
 * @param corpus the documents, in one of the forms that {@link io.llara.retrieval.Corpus} reads
 * @param queries the queries: JSON objects with {@code _id} and {@code text}, or id and text
 *     separated by a tab
 * @param qrels the judgements, as {@link Qrels#read} reads them
 */
public record CollectionFiles(Path corpus, Path queries, Path qrels) {
  private static final String CORPUS = "corpus.jsonl";
  private static final String QUERIES = "queries.jsonl";
  private static final String ZIPPED = ".gz";
  private static final String FORM = "expected a folder in BEIR format";

  /**
   * Finds the files of a folder in BEIR format: {@code corpus.jsonl}, {@code queries.jsonl} and
   * {@code qrels/SPLIT.tsv}; those that are gzipped end in {@code .gz}.
   *
   * @param split whose judgements are wanted: {@code test}, {@code dev}, {@code train}
   * @throws LlaraException if it is no such folder, or one of them is missing
   */
  public static CollectionFiles ofBeir(Path directory, String split) {
    if (!Files.isDirectory(directory)) {
      throw new LlaraException(
          "%s: is not a directory; expected one with %s, %s and qrels"
              .formatted(directory, CORPUS, QUERIES));
    }
    Path judged = directory.resolve("qrels");
    Path qrels = find(judged, split + ".tsv", () -> "its splits are: " + splits(judged));
    return new CollectionFiles(
        find(directory, CORPUS, () -> FORM), find(directory, QUERIES, () -> FORM), qrels);
  }

  /** Returns all three. */
  public List<Path> all() {
    return List.of(corpus, queries, qrels);
  }

  private static String splits(Path folder) {
    if (!Files.isDirectory(folder)) {
      return "none (there is no such folder)";
    }
    try (Stream<Path> files = Files.list(folder)) {
      String splits =
          files
              .map(file -> file.getFileName().toString())
              .filter(name -> name.endsWith(".tsv") || name.endsWith(".tsv" + ZIPPED))
              .map(name -> name.substring(0, name.indexOf(".tsv")))
              .sorted()
              .distinct()
              .collect(Collectors.joining(", "));
      return splits.isEmpty() ? "none" : splits;
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, Messages.reason(e)), e);
    }
  }

  private static Path find(Path directory, String name, Supplier<String> hint) {
    return Stream.of(name, name + ZIPPED)
        .map(directory::resolve)
        .filter(Files::isRegularFile)
        .findFirst()
        .orElseThrow(
            () ->
                new LlaraException(
                    "%s: has neither %s nor %s%s; %s"
                        .formatted(directory, name, name, ZIPPED, hint.get())));
  }
}
