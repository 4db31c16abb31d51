package io.llara.retrieval.eval;

import static java.util.Objects.requireNonNull;

import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.retrieval.Bm25Index;
import io.llara.retrieval.Bm25Options;
import io.llara.retrieval.CorpusVectors;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.Document;
import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.TextSet;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Says how well an encoder retrieves: searches a BEIR collection for its judged queries, and
 * measures what is found as {@code trec_eval -c} does (see {@link Metric}). BM25 beside it is the
 * yardstick.
 *
 * <pre>{@code
 * BeirEvaluator evaluator = BeirEvaluator.builder(Path.of("beir/scifact")).build();
 * Evaluation bm25 = evaluator.evaluateBm25();
 * try (Encoder encoder = Encoder.load(Path.of("model"))) {
 *   Evaluation model = evaluator.evaluate(encoder);
 *   double gain = model.mean(Metric.ndcg(10)) - bm25.mean(Metric.ndcg(10));
 * }
 * }</pre>
 *
 * <p>The encoder's search is exact: by the inner product of its embeddings, which is their cosine
 * unless the encoder does not normalise. For each query 100 documents are retrieved, or as many as
 * the largest cutoff asks for; MAP looks at those. The same model, settings and machine give the
 * same result to the last bit; so does BM25 everywhere.
 *
 * <p>Immutable, and thread-safe. The corpus may be larger than the heap.
 */
public final class BeirEvaluator {
  /** Whose judgements are read unless told otherwise. */
  public static final String DEFAULT_SPLIT = "test";

  /** Where the measures look unless told otherwise. */
  public static final List<Integer> DEFAULT_CUTOFFS = List.of(1, 3, 5, 10, 100);

  /** How many documents are retrieved for a query, at least. */
  public static final int DEFAULT_DEPTH = 100;

  private static final String MODEL = "model";
  private static final String BM25 = "bm25";

  private final BeirDataset dataset;
  private final List<Metric> metrics;
  private final int depth;
  private final Mode queryMode;
  private final Mode passageMode;
  private final Bm25Options bm25;
  private final boolean skipOwnId;

  private BeirEvaluator(Builder builder, BeirDataset dataset) {
    this.dataset = dataset;
    this.metrics = Metric.all(builder.cutoffs);
    this.depth =
        Math.max(
            builder.depth, builder.cutoffs.stream().mapToInt(Integer::intValue).max().orElse(0));
    this.queryMode = builder.queryMode;
    this.passageMode = builder.passageMode;
    this.bm25 = builder.bm25;
    this.skipOwnId = builder.skipOwnId;
  }

  /**
   * Returns a builder.
   *
   * @param directory the collection: see {@link BeirDataset}
   */
  public static Builder builder(Path directory) {
    return new Builder(directory);
  }

  /** Returns the collection. */
  public BeirDataset dataset() {
    return dataset;
  }

  /** Returns what is measured. */
  public List<Metric> metrics() {
    return metrics;
  }

  /**
   * Searches with an encoder; the vectors are kept until it is done.
   *
   * @param encoder the caller closes it
   * @throws LlaraException if a text cannot be encoded, or the collection changed since it was
   *     opened
   */
  public Evaluation evaluate(Encoder encoder) {
    return evaluate(encoder, Optional.empty(), EvaluationListener.NONE);
  }

  /**
   * Searches with an encoder whose vectors are taken from a cache, or made and kept there.
   *
   * @param encoder the caller closes it
   * @param cache where vectors are kept
   * @throws LlaraException as {@link #evaluate(Encoder)}
   */
  public Evaluation evaluate(Encoder encoder, CachePlace cache, EvaluationListener listener) {
    return evaluate(encoder, Optional.of(cache), listener);
  }

  /**
   * Searches with an encoder; the vectors are kept until it is done.
   *
   * @param encoder the caller closes it
   * @throws LlaraException as {@link #evaluate(Encoder)}
   */
  public Evaluation evaluate(Encoder encoder, EvaluationListener listener) {
    return evaluate(encoder, Optional.empty(), listener);
  }

  private Evaluation evaluate(
      Encoder encoder, Optional<CachePlace> cache, EvaluationListener listener) {
    TextSet passages = TextSet.of(dataset.corpus(), dataset.summary());
    TextSet queries =
        TextSet.of("the queries of " + dataset.name(), List.copyOf(dataset.queries().values()));
    listener.encoding("passages", passages.count());
    try (CorpusVectors passageVectors = vectors(passages, encoder, passageMode, cache, listener)) {
      listener.encoding("queries", queries.count());
      try (CorpusVectors queryVectors = vectors(queries, encoder, queryMode, cache, listener);
          ExactSearch search = new ExactSearch(encoder.lanes())) {
        return evaluate(MODEL, search.search(queryVectors, passageVectors, retrieved()));
      }
    }
  }

  private static CorpusVectors vectors(
      TextSet texts,
      Encoder encoder,
      Mode mode,
      Optional<CachePlace> cache,
      EvaluationListener listener) {
    return cache.isPresent()
        ? CorpusVectors.open(texts, encoder, mode, cache.get(), listener::note)
        : CorpusVectors.open(texts, encoder, mode);
  }

  /**
   * Searches with BM25, over title and text as one field.
   *
   * @throws LlaraException if the collection changed since it was opened, or the index cannot be
   *     written to the folder for temporary files
   */
  public Evaluation evaluateBm25() {
    List<Hits> hits = new ArrayList<>();
    try (Bm25Index index = Bm25Index.build(dataset.corpus(), bm25)) {
      if (!index.digest().equals(dataset.summary().digest())) {
        throw changed();
      }
      dataset.queries().values().forEach(text -> hits.add(index.search(text, retrieved())));
    }
    return evaluate(BM25, hits);
  }

  /** Measures what another system found. */
  public Evaluation evaluate(Run run) {
    return Evaluation.of(run, dataset.qrels(), metrics);
  }

  /** Returns how many documents are retrieved, before the query itself is left out of them. */
  private int retrieved() {
    return skipOwnId ? depth + 1 : depth;
  }

  private Evaluation evaluate(String name, List<Hits> hits) {
    Map<Long, String> ids = ids(hits);
    Map<String, Ranking> rankings = new LinkedHashMap<>();
    Iterator<Hits> next = hits.iterator();
    for (String query : dataset.queries().keySet()) {
      Hits found = next.next();
      List<ScoredDocument> documents = new ArrayList<>();
      for (int i = 0; i < found.size() && documents.size() < depth; i++) {
        String id = requireNonNull(ids.get(found.indices().get(i)));
        if (!(skipOwnId && id.equals(query))) {
          documents.add(new ScoredDocument(id, (float) found.scores().get(i)));
        }
      }
      rankings.put(query, new Ranking(documents));
    }
    return evaluate(new Run(name, rankings));
  }

  /** Returns the ids of the documents found. */
  private Map<Long, String> ids(List<Hits> hits) {
    Set<Long> wanted = new HashSet<>();
    hits.forEach(found -> found.indices().forEach(wanted::add));
    Map<Long, String> ids = new HashMap<>();
    try (Stream<Document> documents = dataset.corpus().documents()) {
      Iterator<Document> iterator = documents.iterator();
      for (long index = 0; ids.size() < wanted.size() && iterator.hasNext(); index++) {
        String id = iterator.next().id();
        if (wanted.contains(index)) {
          ids.put(index, id);
        }
      }
    }
    if (ids.size() < wanted.size()) {
      throw changed();
    }
    return ids;
  }

  private LlaraException changed() {
    return new LlaraException(dataset.corpus().name() + ": changed while it was read");
  }

  /** What is evaluated, and how. */
  public static final class Builder {
    private final Path directory;
    private String split = DEFAULT_SPLIT;
    private List<Integer> cutoffs = DEFAULT_CUTOFFS;
    private int depth = DEFAULT_DEPTH;
    private Mode queryMode = Mode.NEXT;
    private Mode passageMode = Mode.SELF;
    private Bm25Options bm25 = Bm25Options.DEFAULT;
    private boolean skipOwnId;

    private Builder(Path directory) {
      this.directory = requireNonNull(directory, "directory");
    }

    /** Sets whose judgements are read; {@value #DEFAULT_SPLIT} by default. */
    public Builder split(String split) {
      this.split = requireNonNull(split, "split");
      return this;
    }

    /** Sets the ranks that the measures look down to; 1, 3, 5, 10 and 100 by default. */
    public Builder cutoffs(List<Integer> cutoffs) {
      this.cutoffs = List.copyOf(cutoffs);
      return this;
    }

    /**
     * Sets how many documents are retrieved for a query: {@value #DEFAULT_DEPTH} by default, and
     * never fewer than the largest cutoff.
     */
    public Builder depth(int documents) {
      this.depth = documents;
      return this;
    }

    /** Sets the mode of queries; {@link Mode#NEXT} by default. */
    public Builder queryMode(Mode mode) {
      this.queryMode = requireNonNull(mode, "mode");
      return this;
    }

    /** Sets the mode of passages; {@link Mode#SELF} by default. */
    public Builder passageMode(Mode mode) {
      this.passageMode = requireNonNull(mode, "mode");
      return this;
    }

    /** Sets the parameters of BM25; k1 0.9 and b 0.4 by default. */
    public Builder bm25(Bm25Options options) {
      this.bm25 = requireNonNull(options, "options");
      return this;
    }

    /**
     * Leaves the document with the query's own id out of what is found, as BEIR's own evaluation
     * does. Right where the queries are documents (ArguAna, Quora), wrong where both happen to be
     * numbered from 1; off by default.
     */
    public Builder skipOwnId(boolean skip) {
      this.skipOwnId = skip;
      return this;
    }

    /**
     * Opens the collection.
     *
     * @throws IllegalArgumentException if a setting is out of range
     * @throws LlaraException as {@link BeirDataset#open}
     */
    public BeirEvaluator build() {
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
      return new BeirEvaluator(this, BeirDataset.open(directory, split));
    }
  }
}
