package io.llara.examples;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.ProgressListener;
import io.llara.examples.SearcherOptions.Kind;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.train.data.BadLines;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.HardNegativeMiner;
import io.llara.train.mining.MiningListener;
import io.llara.train.mining.MiningReport;
import io.llara.train.mining.MiningReport.Count;
import io.llara.train.mining.Sampling;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Pairs in, pairs with hard negatives out. */
@Command(
    name = "mine",
    customSynopsis = {
      "llara mine --bm25 --pairs FILE... --out FILE [OPTION...]",
      "       llara mine --model DIR [--searcher KIND] --pairs FILE... --out FILE [OPTION...]"
    },
    sortOptions = false,
    description = {
      "Finds hard negatives for training: passages that a search ranks high for a query and that"
          + " are not among its positives.",
      "",
      "Candidates are a window of ranks of each query's results. Positives of the query in any"
          + " line, the query itself, repeated texts and scores out of bounds are dropped, and"
          + " counted by reason; of the rest some are taken. What was dropped is not replaced: a"
          + " pair may get fewer negatives than asked for.",
      "",
      "The file is written at the end, with a report beside it (FILE.report.json). The same command"
          + " gives the same file; after an interruption it starts over, with the vectors from the"
          + " cache.",
      ""
    })
final class MineCommand extends Subcommand {
  @Option(
      names = "--pairs",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description = "JSON lines {\"query\": …, \"pos\": […], \"neg\": […]}, plain or gzipped.")
  private List<Path> pairs = new ArrayList<>();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description =
          "The same pairs with new negatives, and pos_ids, neg_ids and neg_scores; gzipped if the"
              + " name ends in .gz.")
  private Path out = Path.of("");

  @Option(
      names = "--corpus",
      paramLabel = "FILE",
      description =
          "The collection to take negatives from: JSON lines with _id, title and text, as"
              + " corpus.jsonl of BEIR, or collection.tsv of MS MARCO or psgs_w100.tsv of DPR; plain"
              + " or gzipped (default: the passages of the pairs).")
  private Optional<Path> corpus = Optional.empty();

  @Option(names = "--bm25", description = "Search by BM25 (k1 0.9, b 0.4, English analysis).")
  private boolean bm25;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Search with the embeddings of a model: a Hugging Face directory.")
  private @Nullable Path model;

  @Option(
      names = "--hnsw",
      description =
          "With --model: search a graph (HNSW) instead of every passage; how much that misses is"
              + " measured.")
  private boolean hnsw;

  @Option(
      names = "--searcher",
      paramLabel = SearcherOptions.KINDS,
      description =
          SearcherOptions.DESCRIPTION
              + " (default: bm25 with --bm25, hnsw with --hnsw, exact with --model).")
  private @Nullable Kind searcher;

  @Mixin private SearcherOptions searchers = new SearcherOptions();

  @Option(
      names = "--query-mode",
      paramLabel = "next|self",
      description = "The mode of queries alone (default: that of --modes).")
  private Optional<Mode> queryMode = Optional.empty();

  @Option(
      names = "--passage-mode",
      paramLabel = "self|next",
      description = "The mode of passages alone (default: that of --modes).")
  private Optional<Mode> passageMode = Optional.empty();

  @Option(
      names = "--negatives",
      paramLabel = "N",
      description = "How many to mine for each pair (default: ${DEFAULT-VALUE}).")
  private int negatives = HardNegativeMiner.DEFAULT_NEGATIVES;

  @Option(
      names = "--ranks",
      paramLabel = "FROM-TO",
      description =
          "The window of ranks, from FROM (inclusive) to TO (exclusive), the best being 0 (default:"
              + " ${DEFAULT-VALUE}).")
  private String ranks = HardNegativeMiner.DEFAULT_FROM + "-" + HardNegativeMiner.DEFAULT_TO;

  @Option(
      names = "--margin",
      paramLabel = "X",
      description = "A negative's score is at most the positive's less X.")
  private Optional<Double> margin = Optional.empty();

  @Option(
      names = "--relative-margin",
      paramLabel = "R",
      description =
          "A negative's score is at most the positive's less R times it: with 0.05 at most 95%%.")
  private Optional<Double> relativeMargin = Optional.empty();

  @Option(
      names = "--min-score",
      paramLabel = "X",
      description = "A negative's score is at least X.")
  private Optional<Double> leastScore = Optional.empty();

  @Option(names = "--max-score", paramLabel = "X", description = "A negative's score is at most X.")
  private Optional<Double> greatestScore = Optional.empty();

  @Option(
      names = "--sample",
      paramLabel = "random|top",
      defaultValue = "random",
      description =
          "Which of the remaining candidates to take: any of them, or the best (default:"
              + " ${DEFAULT-VALUE}).")
  private Sampling sampling = Sampling.RANDOM;

  @Mixin private SeedOption seed = new SeedOption();

  @Option(
      names = "--keep-negatives",
      description = "Keep the negatives that pairs already have, before the mined ones.")
  private boolean keepNegatives;

  @Option(
      names = "--skip-bad-lines",
      description = "Skip lines that cannot be read; by default the first one is an error.")
  private boolean skipBadLines;

  @Mixin private EncoderOptions options = new EncoderOptions();
  @Mixin private KindOptions kinds = new KindOptions();
  @Mixin private CacheOptions cache = new CacheOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Override
  public Integer call() {
    Kind kind = kind();
    if (model != null) {
      model = directory(model);
    }
    new Outputs()
        .reads("--pairs", pairs)
        .reads("--corpus", corpus.stream().toList())
        .reads("--model", model == null ? List.of() : List.of(model))
        .reads("--adapter", options.adapter().stream().toList())
        .writes("--out", out)
        .writes("the report", MiningReport.fileBeside(out));
    MiningReport report;
    try (Bars bars = new Bars();
        CleanStop stop = new CleanStop(streams(), Thread.currentThread()::interrupt)) {
      report = model == null ? mine(kind, Optional.empty(), bars) : mineByModel(kind, model, bars);
      stop.done();
    }
    report.summary().forEach(streams()::note);
    try (Results results = new Results(streams().out())) {
      results.line(
          String.format(
              Locale.ROOT,
              "%s: %d pairs, %d negatives mined",
              out,
              report.count(Count.PAIRS),
              report.count(Count.MINED)));
    }
    return Llara.OK;
  }

  /** Returns how to search, once the options that decide it fit together. */
  private Kind kind() {
    if (searcher != null && (bm25 || hnsw)) {
      throw usageError(
          "--searcher and %s exclude each other".formatted(bm25 ? "--bm25" : "--hnsw"));
    }
    Kind kind = searcher != null ? searcher : bm25 ? Kind.BM25 : hnsw ? Kind.HNSW : Kind.EXACT;
    if (kind.needsModel() && model == null) {
      throw usageError("give --bm25 or --model DIR");
    }
    if (!kind.needsModel()) {
      String name = bm25 ? "--bm25" : "--searcher bm25";
      if (model != null) {
        throw usageError(name + " and --model exclude each other");
      }
      if (hnsw || options.adapter().isPresent()) {
        throw usageError((hnsw ? "--hnsw" : "--adapter") + " is for --model");
      }
    }
    return kind;
  }

  private MiningReport mineByModel(Kind kind, Path directory, Bars bars) {
    try (Encoder encoder = kinds.applyTo(options.encoder(directory)).progress(bars).build()) {
      EmbeddingSearch plain =
          EmbeddingSearch.of(encoder)
              .withModes(
                  queryMode.orElse(encoder.modes().query()),
                  passageMode.orElse(encoder.modes().passage()));
      EmbeddingSearch search =
          cache.place(directory, options.adapter()).map(plain::withCache).orElse(plain);
      MiningReport report = mine(kind, Optional.of(search), bars);
      EncoderOptions.noteCuts(streams(), encoder);
      return report;
    }
  }

  private MiningReport mine(Kind kind, Optional<EmbeddingSearch> search, Bars bars) {
    Dataset<TrainingPair> source =
        Dataset.ofPairs(pairs).badLines(skipBadLines ? BadLines.SKIP : BadLines.REFUSE);
    return builder(bars).build().mine(source, searchers.method(kind, search), out);
  }

  private HardNegativeMiner.Builder builder(Bars bars) {
    int[] window = ranks(command(), "--ranks", ranks);
    HardNegativeMiner.Builder builder =
        HardNegativeMiner.builder()
            .ranks(window[0], window[1])
            .negatives(negatives)
            .sampling(sampling)
            .seed(seed.value())
            .keepNegatives(keepNegatives)
            .listener(bars);
    corpus.map(Corpus::of).ifPresent(builder::corpus);
    margin.ifPresent(builder::margin);
    relativeMargin.ifPresent(builder::relativeMargin);
    leastScore.ifPresent(builder::leastScore);
    greatestScore.ifPresent(builder::greatestScore);
    return builder;
  }

  /** A bar for each part of the work whose length is known. */
  private final class Bars implements MiningListener, ProgressListener, AutoCloseable {
    private final ProgressOptions.Bar bar = progress.bar(streams());
    private @Nullable Stage stage;
    private long reached;

    @Override
    public void progress(Stage at, long done, long total) {
      if (at != stage) {
        stage = at;
        bar.close();
        if (total >= 0) {
          bar.start(words(at), total);
        }
      }
      reached = done;
      bar.progress(done, total);
    }

    /** Between the miner's reports, the encoder reports the texts that it is at. */
    @Override
    public void progress(long done, long total) {
      bar.progress(reached + done, total);
    }

    private String words(Stage at) {
      return switch (at) {
        case PAIRS -> "reading pairs";
        case COLLECTION -> "reading passages";
        case INDEX -> model == null ? "indexing" : "encoding";
        case SEARCH -> "searching";
        case TEXTS -> "fetching texts";
        case WRITE -> "writing";
      };
    }

    @Override
    public void note(String message) {
      streams().note(message);
    }

    @Override
    public void close() {
      bar.close();
    }
  }
}
