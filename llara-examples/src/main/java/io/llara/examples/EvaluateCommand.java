package io.llara.examples;

import com.google.common.base.Ascii;
import com.google.common.collect.Iterables;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.examples.SearcherOptions.Kind;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.Query;
import io.llara.retrieval.SearchListener;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.TextSet;
import io.llara.retrieval.eval.BeirDataset;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.retrieval.eval.Evaluation;
import io.llara.retrieval.eval.Metric;
import io.llara.retrieval.eval.PairedTest;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A model and a test collection in, numbers out. */
@Command(
    name = "evaluate",
    description = {
      "Measures how well a model retrieves on a test collection: a folder in BEIR format, or files"
          + " as those of MS MARCO.",
      "",
      "Prints a table of the means over the judged queries: nDCG, MAP, recall, MRR and precision,"
          + " equal to those of trec_eval -c. A query without results counts as 0. With"
          + " several searchers, or --bm25, there is a column for each, and whether the first"
          + " differs from the others by more than chance.",
      "",
      "Vectors are cached as by llara search.",
      ""
    })
final class EvaluateCommand extends Subcommand {
  private static final int NAME_WIDTH = 11;
  private static final int NUMBER_WIDTH = 8;

  /** Down to this rank what an approximate search misses is measured. */
  private static final int RECALLED = 100;

  /** What is said below the table. */
  private final List<String> remarks = new ArrayList<>();

  @Mixin private RetrievalOptions options = new RetrievalOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Mixin private CollectionOptions collection = new CollectionOptions();

  @Option(
      names = "--searcher",
      paramLabel = SearcherOptions.KINDS,
      split = ",",
      description =
          "One or more, a column each; "
              + SearcherOptions.DESCRIPTION
              + " (default: exact). With --no-cache the vectors are kept until the command ends.")
  private List<Kind> searchers = new ArrayList<>();

  @Mixin private SearcherOptions searcherOptions = new SearcherOptions();

  @Option(names = "--bm25", description = "Evaluate BM25 beside the model.")
  private boolean withBm25;

  @Option(
      names = "--bm25-only",
      description = "Evaluate BM25, and no model; the same as --searcher bm25.")
  private boolean onlyBm25;

  @Option(
      names = "--cutoffs",
      paramLabel = "K",
      split = ",",
      defaultValue = "1,3,5,10,100",
      description =
          "Cutoff ranks of the metrics (default: ${DEFAULT-VALUE}). For each query 100 documents are"
              + " retrieved, or as many as the largest cutoff.")
  private List<Integer> cutoffs = BeirEvaluator.DEFAULT_CUTOFFS;

  @Option(
      names = "--skip-own-id",
      description =
          "Leave the document with the query's own id out of the results: for collections whose"
              + " queries are documents (ArguAna, Quora).")
  private boolean skipOwnId;

  @Option(
      names = "--relevance-level",
      paramLabel = "N",
      description =
          "The least grade of a relevant document, as trec_eval's -l, for all measures but nDCG"
              + " (default: ${DEFAULT-VALUE}).")
  private int relevanceLevel = Metric.DEFAULT_RELEVANCE_LEVEL;

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
          "Write the results as a run file for trec_eval. With --bm25 that of BM25 is written beside"
              + " it: run.bm25.txt beside run.txt.")
  private @Nullable Path run;

  @Override
  public Integer call() {
    Set<Kind> kinds = kinds();
    checkOutputs(kinds);
    BeirDataset dataset = collection.open(BeirEvaluator.DEFAULT_SPLIT);
    BeirEvaluator evaluator =
        new BeirEvaluator(dataset, cutoffs, BeirEvaluator.DEFAULT_DEPTH, skipOwnId, relevanceLevel);
    dataset
        .findings()
        .warnings()
        .forEach(warning -> streams().note(dataset.name() + ": " + warning));
    List<Evaluation> evaluations = evaluate(evaluator, kinds);
    show(dataset, evaluations);
    if (json != null) {
      evaluator.writeJson(json, evaluations);
    }
    if (run != null) {
      for (Evaluation evaluation : evaluations) {
        boolean first = evaluation == evaluations.get(0);
        evaluation.run().write(first ? run : beside(run, evaluation.name()));
      }
    }
    return Llara.OK;
  }

  /** Fails before hours of work rather than after them. */
  private void checkOutputs(Set<Kind> kinds) {
    Outputs outputs = collection.addTo(options.addTo(new Outputs()));
    if (json != null) {
      outputs.writes("--json", json);
    }
    if (run != null) {
      outputs.writes("--run", run);
      for (Kind kind : Iterables.skip(kinds, 1)) {
        outputs.writes("--run", beside(run, name(kind)));
      }
    }
  }

  private static String name(Kind kind) {
    return kind == Kind.EXACT ? "model" : Ascii.toLowerCase(kind.name());
  }

  /** Puts a word before the last ending of a file's name. */
  private static Path beside(Path file, String word) {
    String name = file.getFileName().toString();
    int dot = name.lastIndexOf('.');
    int place = dot > 0 ? dot : name.length();
    return file.resolveSibling(name.substring(0, place) + "." + word + name.substring(place));
  }

  /** Returns the searchers, once the options that decide them fit together. */
  private Set<Kind> kinds() {
    if (searchers.contains(Kind.HYBRID)) {
      // Refuses a weight out of range.
      searcherOptions.fusion();
    }
    if (onlyBm25 && !searchers.isEmpty()) {
      throw new LlaraException("--bm25-only and --searcher exclude each other");
    }
    Set<Kind> kinds = new LinkedHashSet<>(onlyBm25 ? List.of(Kind.BM25) : searchers);
    if (kinds.isEmpty()) {
      kinds.add(Kind.EXACT);
    }
    if (withBm25) {
      kinds.add(Kind.BM25);
    }
    return kinds;
  }

  private List<Evaluation> evaluate(BeirEvaluator evaluator, Set<Kind> kinds) {
    List<Evaluation> evaluations = new ArrayList<>();
    if (kinds.stream().noneMatch(Kind::needsModel)) {
      if (options.hasModel()) {
        streams().note((onlyBm25 ? "--bm25-only" : "--searcher bm25") + ": the model is not used");
      }
      evaluations.add(evaluate(evaluator, Kind.BM25, Optional.empty(), SearchListener.NONE));
      return evaluations;
    }
    try (TemporaryPath vectors = TemporaryPath.folder("llara-vectors");
        ProgressOptions.Bar bars = progress.bar(streams());
        Encoder encoder = options.encoder(streams()).progress(bars).build()) {
      EmbeddingSearch search = options.search(encoder);
      if (search.cache().isEmpty()) {
        // All searchers use the same vectors.
        search = search.withCache(new CachePlace(vectors.path(), "the model"));
      }
      for (Kind kind : kinds) {
        evaluations.add(evaluate(evaluator, kind, Optional.of(search), bars));
      }
      // A sentence would tear the bar.
      bars.close();
      EncoderOptions.noteCuts(streams(), encoder);
    }
    return evaluations;
  }

  private Evaluation evaluate(
      BeirEvaluator evaluator,
      Kind kind,
      Optional<EmbeddingSearch> search,
      SearchListener listener) {
    String name = name(kind);
    BeirDataset dataset = evaluator.dataset();
    try (Searcher searcher =
        searcherOptions
            .method(kind, search)
            .open(TextSet.of(dataset.corpus(), dataset.summary()), listener)) {
      searcher
          .recall(dataset.queries().values().stream().map(Query::of).toList(), RECALLED)
          .ifPresent(
              recall ->
                  remarks.add(
                      "%s: recall@%d against exact search %s"
                          .formatted(name, RECALLED, decimal("%.4f", recall))));
      if (kind == Kind.HYBRID) {
        remarks.add("hybrid: model and bm25, " + searcherOptions.fusion());
      }
      return evaluator.evaluate(name, searcher);
    }
  }

  private void show(BeirDataset dataset, List<Evaluation> evaluations) {
    try (Results results = new Results(streams().out())) {
      results.line(
          "%s: %d queries, %d documents"
              .formatted(
                  collection.title(dataset, BeirEvaluator.DEFAULT_SPLIT),
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
      if (evaluations.size() > 1) {
        results.line("");
        evaluations.stream()
            .skip(1)
            .forEach(other -> results.line(comparison(evaluations.get(0), other)));
      }
      if (!remarks.isEmpty()) {
        results.line("");
        remarks.forEach(results::line);
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
