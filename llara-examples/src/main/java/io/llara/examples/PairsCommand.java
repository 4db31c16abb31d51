package io.llara.examples;

import io.llara.retrieval.eval.Metric;
import io.llara.train.mining.HardNegativeMiner;
import io.llara.train.mining.Sampling;
import io.llara.train.pairs.JudgedPairs;
import io.llara.train.pairs.PairLines;
import io.llara.train.pairs.PairReport;
import io.llara.train.pairs.PairSource;
import io.llara.train.pairs.TriplePairs;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Other people's data sets in, training pairs out. */
@Command(
    name = "pairs",
    customSynopsis = {
      "llara pairs --beir DIR [--split NAME] [--run FILE] --out FILE [OPTION...]",
      "       llara pairs --corpus FILE --queries FILE --qrels FILE [--run FILE] --out FILE"
          + " [OPTION...]",
      "       llara pairs --triples FILE... [--corpus FILE --queries FILE] --out FILE",
      "       llara pairs --jsonl FILE... --out FILE"
    },
    sortOptions = false,
    description = {
      "Makes training pairs, for mine --pairs and finetune --pairs, of a data set in another form:"
          + " a collection with judgements (BEIR, MS MARCO), triples (MS MARCO), or JSON lines"
          + " (Tevatron, sentence-transformers).",
      "",
      "Files are streamed, plain or gzipped, and may be larger than memory; texts are put aside in"
          + " the folder for temporary files. Nothing is written unless all can be read.",
      ""
    })
final class PairsCommand extends Subcommand {
  private static final String TRAIN = "train";

  @Mixin private CollectionOptions collection = new CollectionOptions();

  @Option(
      names = "--relevance-level",
      paramLabel = "N",
      description = "The least grade of a positive passage (default: ${DEFAULT-VALUE}).")
  private int relevanceLevel = Metric.DEFAULT_RELEVANCE_LEVEL;

  @Option(
      names = "--skip-unknown",
      description =
          "Leave out and count ids that are judged or found and that --corpus or --queries does not"
              + " have; by default the first one is an error.")
  private boolean skipUnknown;

  @Option(
      names = "--run",
      paramLabel = "FILE",
      description =
          "Take negatives from what a system found: a TREC run file, the lines of a query together."
              + " Passages judged relevant are left out.")
  private Optional<Path> run = Optional.empty();

  @Option(
      names = "--ranks",
      paramLabel = "FROM-TO",
      description =
          "With --run: the window of ranks, from FROM (inclusive) to TO (exclusive), the best being"
              + " 0 (default: ${DEFAULT-VALUE}).")
  private String ranks = HardNegativeMiner.DEFAULT_FROM + "-" + HardNegativeMiner.DEFAULT_TO;

  @Option(
      names = "--negatives",
      paramLabel = "N",
      description = "With --run: how many a query gets (default: ${DEFAULT-VALUE}).")
  private int negatives = HardNegativeMiner.DEFAULT_NEGATIVES;

  @Option(
      names = "--sample",
      paramLabel = "random|top",
      defaultValue = "random",
      description =
          "With --run: which of the window, any of them or the best (default: ${DEFAULT-VALUE}).")
  private Sampling sampling = Sampling.RANDOM;

  @Mixin private SeedOption seed = new SeedOption();

  @Option(
      names = "--triples",
      arity = "1..*",
      paramLabel = "FILE",
      description =
          "Lines of query, positive and negative passage, separated by tabs: texts, or, with"
              + " --corpus and --queries, ids.")
  private List<Path> triples = new ArrayList<>();

  @Option(
      names = "--jsonl",
      arity = "1..*",
      paramLabel = "FILE",
      description =
          "JSON lines: {\"query\", \"positive_passages\", \"negative_passages\"} of Tevatron, or"
              + " {\"anchor\", \"positive\", \"negative\"} of sentence-transformers.")
  private List<Path> jsonl = new ArrayList<>();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description =
          "The pairs, JSON lines {\"query\": …, \"pos\": […], \"neg\": […]}; gzipped if the name"
              + " ends in .gz.")
  private Path out = Path.of("");

  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Override
  public Integer call() {
    PairSource source = source();
    collection
        .addTo(new Outputs())
        .reads("--run", run.stream().toList())
        .reads("--triples", triples)
        .reads("--jsonl", jsonl)
        .writes("--out", out);
    PairReport report;
    try (CleanStop stop = new CleanStop(streams(), Thread.currentThread()::interrupt);
        ProgressOptions.Bar bar = progress.start(streams(), "making pairs", -1)) {
      report = source.write(out, bar);
      stop.done();
    }
    report.leftOut().forEach((what, count) -> streams().note("left out: " + what + ": " + count));
    streams()
        .result(
            "%s: %d pairs, %d positives, %d negatives"
                .formatted(out, report.pairs(), report.positives(), report.negatives()));
    return Llara.OK;
  }

  private PairSource source() {
    requireOneAtMost(command(), "--triples", "--jsonl", "--run");
    List<String> judged =
        given(command(), "--relevance-level", "--skip-unknown", "--run", "--ranks", "--sample");
    if (!jsonl.isEmpty()) {
      List<String> others = new ArrayList<>(collection.given());
      others.addAll(judged);
      requireNone("with --jsonl", others);
      return PairLines.of(jsonl);
    }
    if (!triples.isEmpty()) {
      requireNone("with --triples", judged);
      if (collection.given().isEmpty()) {
        return TriplePairs.ofTexts(triples);
      }
      if (!collection.given().equals(List.of("--corpus", "--queries"))) {
        throw usageError("--triples takes --corpus and --queries, or no collection");
      }
      return TriplePairs.ofIds(
          triples, collection.corpus().orElseThrow(), collection.queries().orElseThrow());
    }
    if (run.isEmpty()) {
      requireNone("without --run", given(command(), "--ranks", "--negatives", "--sample"));
    }
    JudgedPairs pairs =
        JudgedPairs.of(collection.files(TRAIN))
            .relevanceLevel(relevanceLevel)
            .skipUnknown(skipUnknown);
    if (run.isEmpty()) {
      return pairs;
    }
    int[] window = ranks(command(), "--ranks", ranks);
    return pairs.negatives(
        new JudgedPairs.Negatives(
            run.get(), window[0], window[1], negatives, sampling, seed.value()));
  }

  private void requireNone(String with, List<String> options) {
    if (!options.isEmpty()) {
      throw usageError("%s there is no %s".formatted(with, String.join(", ", options)));
    }
  }
}
