package io.llara.retrieval.eval;

import io.llara.LlaraException;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.regex.Pattern;
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
  private static final Pattern LINES = Pattern.compile("\\.(jsonl|tsv)(\\.gz)?$");
  private static final String FORM = "expected a folder in BEIR format";

  /**
   * Finds the files of a folder in BEIR format: {@code corpus.jsonl}, {@code queries.jsonl} and
   * {@code qrels/SPLIT.tsv}; those that are gzipped end in {@code .gz}. In NanoBEIR's layout {@code
   * corpus}, {@code queries} and {@code qrels} are folders of one JSONL or TSV file each, whatever
   * its name. The Parquet files that it is published as are not read.
   *
   * @param split whose judgements are wanted: {@code test}, {@code dev}, {@code train}
   * @throws LlaraException if it is no such folder, or one of them is missing
   */
  public static CollectionFiles ofBeir(Path directory, String split) {
    requireDirectory(directory);
    Path judged = directory.resolve("qrels");
    boolean nano = isNano(directory);
    Path qrels =
        nano && plain(judged, split + ".tsv").isEmpty()
            ? only(judged)
            : find(judged, split + ".tsv", () -> "its splits are: " + splits(judged));
    return nano
        ? new CollectionFiles(
            only(directory.resolve(stem(CORPUS))), only(directory.resolve(stem(QUERIES))), qrels)
        : new CollectionFiles(
            find(directory, CORPUS, () -> FORM), find(directory, QUERIES, () -> FORM), qrels);
  }

  private static void requireDirectory(Path directory) {
    if (!Files.isDirectory(directory)) {
      throw new LlaraException(
          "%s: is not a directory; expected one with %s, %s and qrels"
              .formatted(directory, CORPUS, QUERIES));
    }
  }

  /** Returns whether a folder has a corpus: whether it is meant to be a collection. */
  static boolean isCollection(Path directory) {
    return plain(directory, CORPUS).isPresent() || isNano(directory);
  }

  /**
   * Fails unless a folder is meant to be a collection.
   *
   * @throws LlaraException saying what it should have
   */
  static void requireCollection(Path directory) {
    requireDirectory(directory);
    if (!isNano(directory)) {
      find(directory, CORPUS, () -> FORM);
    }
  }

  private static boolean isNano(Path directory) {
    return plain(directory, CORPUS).isEmpty() && Files.isDirectory(directory.resolve(stem(CORPUS)));
  }

  private static String stem(String name) {
    return name.substring(0, name.indexOf('.'));
  }

  /** Returns the one file of lines in a folder. */
  private static Path only(Path folder) {
    List<String> names = names(folder);
    List<String> lines = names.stream().filter(name -> LINES.matcher(name).find()).toList();
    if (lines.size() != 1) {
      throw new LlaraException(
          "%s: has %d files of JSONL or TSV; expected one%s"
              .formatted(
                  folder,
                  lines.size(),
                  names.stream().anyMatch(name -> name.endsWith(".parquet"))
                      ? ". Parquet is not read: write it as JSONL in Python"
                      : ""));
    }
    return folder.resolve(lines.get(0));
  }

  private static List<String> names(Path folder) {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, Messages.reason(e)), e);
    }
  }

  /** Returns all three. */
  public List<Path> all() {
    return List.of(corpus, queries, qrels);
  }

  private static String splits(Path folder) {
    if (!Files.isDirectory(folder)) {
      return "none (there is no such folder)";
    }
    String splits =
        names(folder).stream()
            .filter(name -> name.endsWith(".tsv") || name.endsWith(".tsv" + ZIPPED))
            .map(name -> name.substring(0, name.indexOf(".tsv")))
            .distinct()
            .collect(Collectors.joining(", "));
    return splits.isEmpty() ? "none" : splits;
  }

  private static Optional<Path> plain(Path directory, String name) {
    return Stream.of(name, name + ZIPPED)
        .map(directory::resolve)
        .filter(Files::isRegularFile)
        .findFirst();
  }

  private static Path find(Path directory, String name, Supplier<String> hint) {
    return plain(directory, name)
        .orElseThrow(
            () ->
                new LlaraException(
                    "%s: has neither %s nor %s%s; %s"
                        .formatted(directory, name, name, ZIPPED, hint.get())));
  }
}
