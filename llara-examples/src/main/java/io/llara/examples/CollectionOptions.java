package io.llara.examples;

import static java.util.Objects.requireNonNull;

import io.llara.retrieval.eval.BeirDataset;
import io.llara.retrieval.eval.CollectionFiles;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Spec.Target;

/** The options that name a judged collection: a folder in BEIR format, or three files. */
final class CollectionOptions {
  private static final String CORPUS = "--corpus";
  private static final String QUERIES = "--queries";
  private static final String QRELS = "--qrels";

  @Option(
      names = "--beir",
      arity = "1..*",
      paramLabel = "DIR",
      description =
          "The collection: a folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, plain or"
              + " gzipped (.gz), or with folders corpus, queries and qrels of one such file each"
              + " (NanoBEIR; no Parquet). evaluate takes several, and folders of collections, which"
              + " count as one in the mean.")
  private List<Path> beir = new ArrayList<>();

  @Option(
      names = "--split",
      paramLabel = "NAME",
      description =
          "With --beir: the split whose judgements are used (default: test in evaluate, train in"
              + " pairs).")
  private Optional<String> split = Optional.empty();

  @Option(
      names = CORPUS,
      paramLabel = "FILE",
      description =
          "Instead of --beir, with --queries and --qrels: the passages, as corpus.jsonl of BEIR,"
              + " collection.tsv of MS MARCO (id and text) or psgs_w100.tsv of DPR; plain or"
              + " gzipped.")
  private @Nullable Path corpus;

  @Option(
      names = QUERIES,
      paramLabel = "FILE",
      description = "The queries, as queries.jsonl of BEIR or queries.*.tsv of MS MARCO.")
  private @Nullable Path queries;

  @Option(
      names = QRELS,
      paramLabel = "FILE",
      description =
          "The judgements, as qrels/*.tsv of BEIR, or the four columns of TREC and MS MARCO: query"
              + " id, 0, passage id, grade.")
  private @Nullable Path qrels;

  @Spec(Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  /** Returns the options of a collection that are on the command line. */
  List<String> given() {
    return Subcommand.given(command, "--beir", "--split", CORPUS, QUERIES, QRELS);
  }

  /** Returns the files of a collection, once the options fit together. */
  CollectionFiles files(String usualSplit) {
    if (beir.size() > 1) {
      throw Subcommand.usageError(command, "--beir takes one folder here");
    }
    List<String> three = Subcommand.given(command, CORPUS, QUERIES, QRELS);
    if (!beir.isEmpty()) {
      if (!three.isEmpty()) {
        throw Subcommand.usageError(
            command, "--beir and %s exclude each other".formatted(String.join(", ", three)));
      }
      return CollectionFiles.ofBeir(beir.get(0), split(usualSplit));
    }
    if (three.size() < 3) {
      throw Subcommand.usageError(
          command, "give --beir DIR, or --corpus FILE, --queries FILE and --qrels FILE");
    }
    if (split.isPresent()) {
      throw Subcommand.usageError(command, "--split is for --beir");
    }
    return new CollectionFiles(
        requireNonNull(corpus), requireNonNull(queries), requireNonNull(qrels));
  }

  /** Returns the folders that are named. */
  List<Path> folders() {
    return beir;
  }

  /** Returns the split that is asked for, or else the usual one. */
  String split(String usual) {
    return split.orElse(usual);
  }

  /** Returns the file of passages, if it is named. */
  Optional<Path> corpus() {
    return Optional.ofNullable(corpus);
  }

  /** Returns the file of queries, if it is named. */
  Optional<Path> queries() {
    return Optional.ofNullable(queries);
  }

  /** Opens the collection. */
  BeirDataset open(String usualSplit) {
    CollectionFiles files = files(usualSplit);
    return !beir.isEmpty()
        ? BeirDataset.open(beir.get(0), split(usualSplit))
        : BeirDataset.open(files.qrels().getFileName().toString(), files);
  }

  /** Returns what the results are headed with. */
  String title(BeirDataset dataset, String usualSplit) {
    return beir.isEmpty() ? dataset.name() : dataset.name() + ", " + split(usualSplit);
  }

  /** Adds the files that are read. */
  Outputs addTo(Outputs outputs) {
    beir.forEach(folder -> addTo(outputs, folder));
    add(outputs, CORPUS, corpus);
    add(outputs, QUERIES, queries);
    add(outputs, QRELS, qrels);
    return outputs;
  }

  /** Adds the files of a folder in BEIR format. */
  static void addTo(Outputs outputs, Path folder) {
    Stream.of(
            "corpus.jsonl",
            "queries.jsonl",
            "corpus.jsonl.gz",
            "queries.jsonl.gz",
            "corpus",
            "queries",
            "qrels")
        .forEach(name -> add(outputs, "--beir", folder.resolve(name)));
  }

  private static void add(Outputs outputs, String option, @Nullable Path path) {
    outputs.reads(option, Stream.ofNullable(path).toList());
  }
}
