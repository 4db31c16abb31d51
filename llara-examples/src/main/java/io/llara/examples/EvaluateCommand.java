package io.llara.examples;

import static java.util.Objects.requireNonNull;

import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.ProgressListener;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.eval.BeirDataset;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.retrieval.eval.BeirReport;
import io.llara.retrieval.eval.Evaluation;
import io.llara.retrieval.eval.EvaluationListener;
import io.llara.retrieval.eval.Metric;
import io.llara.retrieval.eval.PairedTest;
import io.llara.retrieval.eval.TrecRun;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A model and a test collection in, numbers out. */
@Command(
    name = "evaluate",
    description = {
      "Says how well a model retrieves on a test collection in BEIR format.",
      "",
      "Prints a table of the means over the judged queries: nDCG, MAP, recall, MRR and precision,"
          + " equal to those of trec_eval -c. A query for which nothing is found counts 0. With"
          + " --bm25 beside it the same of BM25 (k1 0.9, b 0.4, English analysis), and whether the"
          + " difference is more than chance.",
      "",
      "The vectors are kept in the same cache as those of llara search.",
      ""
    })
final class EvaluateCommand implements Callable<Integer> {
  private static final int NAME_WIDTH = 11;
  private static final int NUMBER_WIDTH = 8;

  private final Streams streams;

  @Mixin private RetrievalOptions options = new RetrievalOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Option(
      names = "--beir",
      paramLabel = "DIR",
      required = true,
      description =
          "The collection: a folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv; plain or"
              + " gzipped (.gz).")
  private @Nullable Path beir;

  @Option(
      names = "--split",
      paramLabel = "NAME",
      defaultValue = BeirEvaluator.DEFAULT_SPLIT,
      description = "Whose judgements count (default: ${DEFAULT-VALUE}).")
  private String split = BeirEvaluator.DEFAULT_SPLIT;

  @Option(names = "--bm25", description = "Evaluate BM25 beside the model.")
  private boolean withBm25;

  @Option(names = "--bm25-only", description = "Evaluate BM25, and no model.")
  private boolean onlyBm25;

  @Option(
      names = "--cutoffs",
      paramLabel = "K",
      split = ",",
      defaultValue = "1,3,5,10,100",
      description =
          "The ranks that are looked down to (default: ${DEFAULT-VALUE}). For each query 100"
              + " documents are retrieved, or as many as the largest cutoff.")
  private List<Integer> cutoffs = BeirEvaluator.DEFAULT_CUTOFFS;

  @Option(
      names = "--skip-own-id",
      description =
          "Leave the document with the query's own id out of what is found: for collections whose"
              + " queries are documents (ArguAna, Quora).")
  private boolean skipOwnId;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description =
          "Write the means as JSON: {\"dataset\": …, \"runs\": [{\"name\": …,"
              + " \"metrics\": {\"ndcg@10\": …, …}}, …]}.")
  private @Nullable Path json;

  @Option(
      names = "--run",
      paramLabel = "FILE",
      description =
          "Write what was found as a run file for trec_eval. With --bm25 that of BM25 lies beside"
              + " it: run.bm25.txt beside run.txt.")
  private @Nullable Path run;

  EvaluateCommand(Streams streams) {
    this.streams = streams;
  }

  @Override
  public Integer call() {
    requireWritable("--json", json);
    requireWritable("--run", run);
    BeirEvaluator evaluator =
        BeirEvaluator.builder(requireNonNull(beir))
            .split(split)
            .cutoffs(cutoffs)
            .skipOwnId(skipOwnId)
            .build();
    BeirDataset dataset = evaluator.dataset();
    dataset.findings().warnings().forEach(warning -> streams.note(dataset.name() + ": " + warning));
    List<Evaluation> evaluations = new ArrayList<>();
    if (!onlyBm25) {
      evaluations.add(evaluateModel(evaluator));
    } else if (options.hasModel()) {
      streams.note("--bm25-only: the model is not used");
    }
    if (withBm25 || onlyBm25) {
      evaluations.add(evaluator.evaluateBm25());
    }
    show(dataset, evaluations);
    if (json != null) {
      new BeirReport(dataset.name(), evaluations).writeJson(json);
    }
    if (run != null) {
      for (Evaluation evaluation : evaluations) {
        boolean first = evaluation == evaluations.get(0);
        TrecRun.write(first ? run : beside(run, evaluation.name()), evaluation.run());
      }
    }
    return Llara.OK;
  }

  /** Fails before hours of work rather than after them. */
  private static void requireWritable(String option, @Nullable Path file) {
    if (file == null) {
      return;
    }
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null || Files.isDirectory(file)) {
      throw new LlaraException("%s %s: is a folder; expected a file".formatted(option, file));
    }
    if (!Files.isDirectory(folder)) {
      throw new LlaraException("%s %s: there is no folder %s".formatted(option, file, folder));
    }
  }

  /** Puts a word before the last ending of a file's name. */
  private static Path beside(Path file, String word) {
    String name = file.getFileName().toString();
    int dot = name.lastIndexOf('.');
    int place = dot > 0 ? dot : name.length();
    return file.resolveSibling(name.substring(0, place) + "." + word + name.substring(place));
  }

  private Evaluation evaluateModel(BeirEvaluator evaluator) {
    try (Bars bars = new Bars();
        Encoder encoder = options.encoder(streams).progress(bars).build()) {
      Optional<CachePlace> cache = options.cache();
      Evaluation evaluation =
          cache.isPresent()
              ? evaluator.evaluate(encoder, cache.get(), bars)
              : evaluator.evaluate(encoder, bars);
      // A sentence would tear the bar.
      bars.close();
      EncoderOptions.noteCuts(streams, encoder);
      return evaluation;
    }
  }

  /** A bar for the passages and one for the queries, unless they come from the cache. */
  private final class Bars implements EvaluationListener, ProgressListener, AutoCloseable {
    private ProgressOptions.@Nullable Bar bar;

    @Override
    public void encoding(String what, long texts) {
      close();
      bar = progress.start(streams, "encoding " + what, texts);
    }

    @Override
    public void progress(long done, long total) {
      if (bar != null) {
        bar.progress(done, total);
      }
    }

    @Override
    public void note(String message) {
      streams.note(message);
    }

    @Override
    public void close() {
      if (bar != null) {
        bar.close();
        bar = null;
      }
    }
  }

  private void show(BeirDataset dataset, List<Evaluation> evaluations) {
    try (Results results = new Results(streams.out())) {
      results.line(
          "%s, %s: %d queries, %d documents"
              .formatted(
                  dataset.name(),
                  split,
                  dataset.qrels().queryIds().size(),
                  dataset.summary().documents()));
      results.line("");
      results.line(row("", evaluations.stream().map(Evaluation::name).toList()));
      for (Metric metric : evaluations.get(0).metrics()) {
        results.line(
            row(
                metric.label(),
                evaluations.stream()
                    .map(evaluation -> decimal("%.4f", evaluation.mean(metric)))
                    .toList()));
      }
      if (evaluations.size() == 2) {
        results.line("");
        results.line(comparison(evaluations.get(0), evaluations.get(1)));
      }
    }
  }

  private static String row(String name, List<String> cells) {
    return name
        + " ".repeat(Math.max(0, NAME_WIDTH - name.length()))
        + cells.stream()
            .map(cell -> " ".repeat(Math.max(1, NUMBER_WIDTH - cell.length())) + cell)
            .collect(Collectors.joining());
  }

  private String comparison(Evaluation first, Evaluation second) {
    Metric metric = Metric.ndcg(cutoffs.contains(10) ? 10 : cutoffs.get(0));
    String what =
        "%s, %s - %s: %s"
            .formatted(
                metric.label(),
                first.name(),
                second.name(),
                decimal("%+.4f", first.mean(metric) - second.mean(metric)));
    return PairedTest.of(first, second, metric)
        .map(
            test ->
                "%s; p = %s (paired t-test), %s (randomisation test)"
                    .formatted(
                        what,
                        decimal("%.2g", test.pValue()),
                        decimal("%.2g", test.randomisationPValue())))
        .orElse(what + "; one query is too few for a test");
  }

  private static String decimal(String format, double value) {
    return String.format(Locale.ROOT, format, value);
  }
}
