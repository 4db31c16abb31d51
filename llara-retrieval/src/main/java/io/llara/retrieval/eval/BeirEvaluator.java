package io.llara.retrieval.eval;

import static java.util.Objects.requireNonNull;

import com.google.common.collect.Lists;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.retrieval.Document;
import io.llara.retrieval.Hits;
import io.llara.retrieval.Query;
import io.llara.retrieval.SearchListener;
import io.llara.retrieval.SearchMethod;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.TextSet;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Measures how well a collection in BEIR format is searched: searches it for its judged queries,
 * and measures what is found as {@code trec_eval -c} does (see {@link Metric}). BM25 is the
 * yardstick.
 *
 * <pre>{@code
 * BeirEvaluator evaluator = BeirEvaluator.of(BeirDataset.open(Path.of("beir/scifact"), "test"));
 * Evaluation bm25 = evaluator.evaluate("bm25", new Bm25Search(Bm25Options.DEFAULT));
 * try (Encoder encoder = Encoder.load(Path.of("model"))) {
 *   Evaluation model = evaluator.evaluate("model", EmbeddingSearch.of(encoder));
 *   double gain = model.mean(Metric.ndcg(10)) - bm25.mean(Metric.ndcg(10));
 * }
 * }</pre>
 *
 * <p>For each query 100 documents are retrieved, or as many as the largest cutoff asks for; MAP
 * looks at those. The same model, settings and machine give the same result to the last bit; so
 * does BM25 everywhere.
 *
 * <p>Immutable, and thread-safe. The corpus may be larger than the heap.
 *
 * @param dataset the collection
 * @param cutoffs the ranks that the measures look down to
 * @param depth how many documents are retrieved for a query, before the query itself is left out
 * @param skipOwnId whether the document with the query's own id is left out of what is found, as
 *     BEIR's own evaluation does. Right where the queries are documents (ArguAna, Quora), wrong
 *     where both happen to be numbered from 1
 * @param relevanceLevel the least grade of a relevant document, for all measures but nDCG
 */
public record BeirEvaluator(
    BeirDataset dataset, List<Integer> cutoffs, int depth, boolean skipOwnId, int relevanceLevel) {
  /** The split whose judgements are usual. */
  public static final String DEFAULT_SPLIT = "test";

  /** The cutoffs by default. */
  public static final List<Integer> DEFAULT_CUTOFFS = List.of(1, 3, 5, 10, 100);

  /** How many documents are retrieved for a query by default, at least. */
  public static final int DEFAULT_DEPTH = 100;

  /**
   * Checks the settings. The depth becomes the largest cutoff if it is less.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public BeirEvaluator {
    cutoffs = List.copyOf(cutoffs);
    if (cutoffs.isEmpty() || cutoffs.stream().anyMatch(k -> k < 1)) {
      throw new IllegalArgumentException(
          "the cutoffs are " + cutoffs + "; expected one or more, each at least 1");
    }
    if (Set.copyOf(cutoffs).size() < cutoffs.size()) {
      throw new IllegalArgumentException("the cutoffs " + cutoffs + " are not distinct");
    }
    if (depth < 1) {
      throw new IllegalArgumentException("the depth is " + depth + "; expected 1 or more");
    }
    if (relevanceLevel < 1) {
      throw new IllegalArgumentException(
          "the relevance level is " + relevanceLevel + "; expected 1 or more");
    }
    depth = Math.max(depth, Collections.max(cutoffs));
  }

  /** Returns an evaluator with the usual settings. */
  public static BeirEvaluator of(BeirDataset dataset) {
    return new BeirEvaluator(
        dataset, DEFAULT_CUTOFFS, DEFAULT_DEPTH, false, Metric.DEFAULT_RELEVANCE_LEVEL);
  }

  /** Returns what is measured. */
  public List<Metric> metrics() {
    return Metric.all(cutoffs).stream().map(metric -> metric.atLevel(relevanceLevel)).toList();
  }

  /**
   * Evaluates a way to search the collection.
   *
   * @param name what the run is called
   * @throws LlaraException if a text cannot be encoded, or the collection changed since it was
   *     opened
   */
  public Evaluation evaluate(String name, SearchMethod method) {
    return evaluate(name, method, SearchListener.NONE);
  }

  /** Evaluates a way to search the collection, as {@link #evaluate(String, SearchMethod)}. */
  public Evaluation evaluate(String name, SearchMethod method, SearchListener listener) {
    try (Searcher searcher =
        method.open(TextSet.of(dataset.corpus(), dataset.summary()), listener)) {
      return evaluate(name, searcher);
    }
  }

  /**
   * Evaluates a searcher of the collection.
   *
   * @param searcher its hits' indices count the documents that have text, from 0, in the order of
   *     the file; the caller closes it
   */
  public Evaluation evaluate(String name, Searcher searcher) {
    List<Hits> hits = new ArrayList<>();
    List<Query> queries = dataset.queries().values().stream().map(Query::of).toList();
    // Where the query itself is left out, there is one more to retrieve.
    int wanted = skipOwnId ? depth + 1 : depth;
    for (List<Query> batch : Lists.partition(queries, searcher.batch(wanted))) {
      hits.addAll(searcher.search(batch, wanted));
    }
    Map<Long, Document> documents = dataset.corpus().documents(hits);
    Map<String, Ranking> rankings = new LinkedHashMap<>();
    Iterator<Hits> next = hits.iterator();
    for (String query : dataset.queries().keySet()) {
      Hits found = next.next();
      List<ScoredDocument> ranked = new ArrayList<>();
      for (int i = 0; i < found.size() && ranked.size() < depth; i++) {
        String id = requireNonNull(documents.get(found.indices().get(i))).id();
        if (!(skipOwnId && id.equals(query))) {
          ranked.add(new ScoredDocument(id, (float) found.scores().get(i)));
        }
      }
      rankings.put(query, new Ranking(ranked));
    }
    return evaluate(new Run(name, rankings));
  }

  /** Measures what another system found. */
  public Evaluation evaluate(Run run) {
    return Evaluation.of(run, dataset.qrels(), metrics());
  }

  /**
   * Writes the means of evaluations as JSON: {@code {"dataset": …, "runs": [{"name": "model",
   * "metrics": {"ndcg@10": 0.338, …}}, …]}}, in their order. A file of that name is replaced at
   * once, or not at all.
   *
   * @throws LlaraException if it cannot be written
   */
  public void writeJson(Path file, List<Evaluation> evaluations) {
    Map<String, Map<Metric, Double>> means = new LinkedHashMap<>();
    evaluations.forEach(evaluation -> means.put(evaluation.name(), evaluation.means()));
    JsonObject report = new JsonObject();
    report.addProperty("dataset", dataset.name());
    if (relevanceLevel != Metric.DEFAULT_RELEVANCE_LEVEL) {
      report.addProperty("relevance_level", relevanceLevel);
    }
    report.add("runs", json(means));
    AtomicFiles.writeJson(file, report);
  }

  /** Returns means, by the name of what searched, as JSON. */
  static JsonArray json(Map<String, Map<Metric, Double>> means) {
    JsonArray runs = new JsonArray();
    means.forEach(
        (name, values) -> {
          JsonObject metrics = new JsonObject();
          values.forEach((metric, value) -> metrics.addProperty(metric.label(), value));
          JsonObject run = new JsonObject();
          run.addProperty("name", name);
          run.add("metrics", metrics);
          runs.add(run);
        });
    return runs;
  }
}
