package io.llara.examples;

import static java.util.Objects.requireNonNull;

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
import io.llara.retrieval.eval.BeirSuite;
import io.llara.retrieval.eval.BeirSuite.Member;
import io.llara.retrieval.eval.Evaluation;
import io.llara.retrieval.eval.Metric;
import io.llara.retrieval.eval.PairedTest;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A model and a test collection in, numbers out. */
@Command(
    name = "evaluate",
    description = {
      "Measures how well a model retrieves on test collections: folders in BEIR format, or files as"
          + " those of MS MARCO.",
      "",
      "Prints a table of the means over the judged queries: nDCG, MAP, recall, MRR and precision,"
          + " equal to those of trec_eval -c. A query without results counts as 0. With"
          + " several searchers, or --bm25, there is a column for each, and whether the first"
          + " differs from the others by more than chance. With several collections there is a row"
          + " for each, and the mean over them.",
      "",
      "Vectors are cached as by llara search.",
      ""
    })
final class EvaluateCommand extends Subcommand {
  private static final int METRIC_WIDTH = 11;
  private static final int NUMBER_WIDTH = 8;

  /** Down to this rank what an approximate search misses is measured. */
  private static final int RECALLED = 100;

  /** What is said below the table. */
  private final Set<String> remarks = new LinkedHashSet<>();

  private boolean several;

  @Mixin private RetrievalOptions options = new RetrievalOptions();
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Mixin private CollectionOptions collection = new CollectionOptions();

  @Option(
      names = "--suite",
      paramLabel = "DIR",
      description = "Instead of --beir: all collections in a folder.")
  private @Nullable Path suiteFolder;

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
          "Cutoff ranks of the metrics (default: ${DEFAULT-VALUE}). For each query 100 documents"
              + " are retrieved, or as many as the largest cutoff.")
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
          "Write the means as JSON: {\"dataset\": …, \"runs\": [{\"name\": …, \"metrics\":"
              + " {\"ndcg@10\": …, …}}, …]}; of several collections {\"collections\": [as above,"
              + " …], \"means\": [{\"name\": …, \"metrics\": …}, …]}.")
  private @Nullable Path json;

  @Option(
      names = "--run",
      paramLabel = "FILE",
      description =
          "Write the results as a run file for trec_eval. With --bm25 that of BM25 is written"
              + " beside it: run.bm25.txt beside run.txt. Of several collections each has its own:"
              + " run.NAME.txt and run.NAME.bm25.txt.")
  private @Nullable Path run;

  @Override
  public Integer call() {
    Set<Kind> kinds = kinds();
    Optional<BeirSuite> suite = suite();
    if (suite.isPresent()) {
      evaluate(kinds, suite.get());
      return Llara.OK;
    }
    addRun(addJson(collection.addTo(options.addTo(new Outputs()))), run, kinds);
    BeirEvaluator evaluator = evaluator(collection.open(BeirEvaluator.DEFAULT_SPLIT));
    note(evaluator.dataset().name(), evaluator);
    List<Evaluation> evaluations = new ArrayList<>();
    evaluate(kinds, Map.of("", evaluator), (none, found) -> evaluations.addAll(found));
    show(evaluator.dataset(), evaluations);
    if (json != null) {
      evaluator.writeJson(json, evaluations);
    }
    write(run, evaluations);
    return Llara.OK;
  }

  /** Returns the collections, if there are several. */
  private Optional<BeirSuite> suite() {
    if (suiteFolder != null) {
      if (collection.given().stream().anyMatch(option -> !option.equals("--split"))) {
        throw usageError("--suite is instead of " + String.join(", ", collection.given()));
      }
      return Optional.of(BeirSuite.in(suiteFolder));
    }
    return Optional.of(collection.folders())
        .filter(folders -> !folders.isEmpty())
        .map(BeirSuite::of)
        .filter(suite -> suite.members().size() > 1);
  }

  private void evaluate(Set<Kind> kinds, BeirSuite suite) {
    several = true;
    Outputs outputs = options.addTo(new Outputs());
    suite.members().forEach(member -> CollectionOptions.addTo(outputs, member.folder()));
    addJson(outputs);
    suite.members().forEach(member -> addRun(outputs, of(member), kinds));
    Map<Member, BeirEvaluator> evaluators = new LinkedHashMap<>();
    for (Member member : suite.members()) {
      evaluators.put(member, evaluator(BeirDataset.open(member.folder(), split())));
    }
    evaluators.forEach((member, evaluator) -> note(member.name(), evaluator));
    Map<Member, Map<String, Map<Metric, Double>>> means = new LinkedHashMap<>();
    evaluate(
        kinds,
        evaluators,
        (member, evaluations) -> {
          // What was found would fill the memory.
          write(of(member), evaluations);
          Map<String, Map<Metric, Double>> bySearcher = new LinkedHashMap<>();
          evaluations.forEach(found -> bySearcher.put(found.name(), found.means()));
          means.put(member, bySearcher);
        });
    show(suite, kinds.stream().map(EvaluateCommand::name).toList(), means);
    if (json != null) {
      suite.writeJson(json, means);
    }
  }

  private String split() {
    return collection.split(BeirEvaluator.DEFAULT_SPLIT);
  }

  private BeirEvaluator evaluator(BeirDataset dataset) {
    return new BeirEvaluator(
        dataset, cutoffs, BeirEvaluator.DEFAULT_DEPTH, skipOwnId, relevanceLevel);
  }

  private void note(String name, BeirEvaluator evaluator) {
    evaluator
        .dataset()
        .findings()
        .warnings()
        .forEach(warning -> streams().note(name + ": " + warning));
  }

  private Outputs addJson(Outputs outputs) {
    return json == null ? outputs : outputs.writes("--json", json);
  }

  /** Fails before hours of work rather than after them. */
  private static void addRun(Outputs outputs, @Nullable Path runFile, Set<Kind> kinds) {
    if (runFile != null) {
      outputs.writes("--run", runFile);
      for (Kind kind : Iterables.skip(kinds, 1)) {
        outputs.writes("--run", beside(runFile, name(kind)));
      }
    }
  }

  /** Returns the run file of one of several collections, if there is to be one. */
  private @Nullable Path of(Member member) {
    return run == null ? null : beside(run, member.name().replace('/', '-'));
  }

  private static void write(@Nullable Path file, List<Evaluation> evaluations) {
    if (file != null) {
      for (Evaluation evaluation : evaluations) {
        boolean first = evaluation == evaluations.get(0);
        evaluation.run().write(first ? file : beside(file, evaluation.name()));
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

  /**
   * Evaluates all ways to search each collection.
   *
   * @param done gets those of one collection after another
   */
  private <K> void evaluate(
      Set<Kind> kinds, Map<K, BeirEvaluator> evaluators, BiConsumer<K, List<Evaluation>> done) {
    if (kinds.stream().noneMatch(Kind::needsModel)) {
      if (options.hasModel()) {
        streams().note((onlyBm25 ? "--bm25-only" : "--searcher bm25") + ": the model is not used");
      }
      evaluators.forEach(
          (member, evaluator) ->
              done.accept(
                  member,
                  List.of(evaluate(evaluator, Kind.BM25, Optional.empty(), SearchListener.NONE))));
      return;
    }
    try (TemporaryPath vectors = TemporaryPath.folder("llara-vectors");
        ProgressOptions.Bar bars = progress.bar(streams());
        Encoder encoder = options.encoder().progress(bars).build()) {
      EmbeddingSearch cached = options.search(encoder);
      EmbeddingSearch search =
          cached.cache().isPresent()
              ? cached
              // All searchers use the same vectors.
              : cached.withCache(new CachePlace(vectors.path(), "the model"));
      evaluators.forEach(
          (member, evaluator) -> {
            List<Evaluation> evaluations = new ArrayList<>();
            for (Kind kind : kinds) {
              evaluations.add(evaluate(evaluator, kind, Optional.of(search), bars));
            }
            done.accept(member, evaluations);
          });
      // A sentence would tear the bar.
      bars.close();
      EncoderOptions.noteCuts(streams(), encoder);
    }
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
                      "%s%s: recall@%d against exact search %s"
                          .formatted(
                              several ? dataset.name() + ", " : "",
                              name,
                              RECALLED,
                              decimal("%.4f", recall))));
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
      results.line(row("", METRIC_WIDTH, evaluations.stream().map(Evaluation::name).toList()));
      for (Metric metric : evaluations.get(0).metrics()) {
        results.line(
            row(
                metric.label(),
                METRIC_WIDTH,
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
      showRemarks(results);
    }
  }

  private void showRemarks(Results results) {
    if (!remarks.isEmpty()) {
      results.line("");
      remarks.forEach(results::line);
    }
  }

  /** Shows a table for each searcher: a row for each collection, and the means. */
  private void show(
      BeirSuite suite,
      List<String> searchers,
      Map<Member, Map<String, Map<Metric, Double>>> means) {
    int main = mainCutoff();
    Set<String> shown =
        Set.of("ndcg@" + main, "map", "recall@" + Collections.max(cutoffs), "mrr@" + main);
    List<Metric> metrics =
        means.values().iterator().next().values().iterator().next().keySet().stream()
            .filter(metric -> shown.contains(metric.label()))
            .toList();
    String mean = "mean of " + suite.groups().size();
    int width =
        2
            + Stream.concat(suite.members().stream().map(Member::name), Stream.of(mean))
                .mapToInt(String::length)
                .max()
                .orElseThrow();
    try (Results results = new Results(streams().out())) {
      for (String searcher : searchers) {
        Table table =
            (metric, member) ->
                requireNonNull(
                    requireNonNull(requireNonNull(means.get(member)).get(searcher)).get(metric));
        results.line(
            row(
                searcher,
                width,
                metrics.stream().map(metric -> cell(metric, metric.label())).toList()));
        suite
            .groups()
            .forEach(
                (group, members) -> {
                  members.forEach(
                      member ->
                          results.line(
                              row(member.name(), width, metrics, m -> table.value(m, member))));
                  if (members.size() > 1) {
                    BeirSuite forums = new BeirSuite(members);
                    results.line(
                        row(
                            group + ", mean",
                            width,
                            metrics,
                            m -> forums.mean(member -> table.value(m, member))));
                  }
                });
        results.line(row(mean, width, metrics, m -> suite.mean(member -> table.value(m, member))));
        results.line("");
      }
      results.line("split %s; the mean counts each collection once".formatted(split()));
      showRemarks(results);
    }
  }

  /** The numbers of one searcher. */
  private interface Table {
    double value(Metric metric, Member member);
  }

  private int mainCutoff() {
    return cutoffs.contains(10) ? 10 : cutoffs.get(0);
  }

  private static String row(
      String name, int width, List<Metric> metrics, ToDoubleFunction<Metric> value) {
    return row(
        name,
        width,
        metrics.stream()
            .map(metric -> cell(metric, decimal("%.4f", value.applyAsDouble(metric))))
            .toList());
  }

  /** Returns a text as wide as what stands in the column of a metric. */
  private static String cell(Metric metric, String text) {
    int wide = Math.max(NUMBER_WIDTH - 1, metric.label().length());
    return " ".repeat(wide - text.length()) + text;
  }

  private static String row(String name, int width, List<String> cells) {
    return name
        + " ".repeat(Math.max(0, width - name.length()))
        + cells.stream()
            .map(cell -> " ".repeat(Math.max(1, NUMBER_WIDTH - cell.length())) + cell)
            .collect(Collectors.joining());
  }

  private String comparison(Evaluation first, Evaluation second) {
    Metric metric = Metric.ndcg(mainCutoff());
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
