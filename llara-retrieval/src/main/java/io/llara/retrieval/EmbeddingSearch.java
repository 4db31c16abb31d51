package io.llara.retrieval;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.CorpusVectors.Encoding;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Search by a model's embeddings: scores are inner products, the cosine where the model's
 * embeddings have length 1. An immutable value.
 *
 * @param encoder embeds queries and passages; the caller closes it
 * @param queries how queries are embedded
 * @param passages how passages are embedded
 * @param cache where vectors are kept, those of a collection and those of queries; without it they
 *     are made each time
 * @param hnsw how a graph over the passages is built, for collections that are too large to look at
 *     all of; without it, and without signs, the search is exact
 * @param signs how many candidates for each hit are found by their signs alone ({@link
 *     SignSearch}), in place of a graph
 */
public record EmbeddingSearch(
    Encoder encoder,
    Mode queries,
    Mode passages,
    Optional<CachePlace> cache,
    Optional<HnswOptions> hnsw,
    OptionalInt signs)
    implements SearchMethod {
  /** Checks that there is one way to search only. */
  public EmbeddingSearch {
    if (hnsw.isPresent() && signs.isPresent()) {
      throw new IllegalArgumentException("a search is along a graph or by signs, not both");
    }
  }

  /** Returns the exact search, in the encoder's modes of queries and passages. */
  public static EmbeddingSearch of(Encoder encoder) {
    return new EmbeddingSearch(
        encoder,
        encoder.modes().query(),
        encoder.modes().passage(),
        Optional.empty(),
        Optional.empty(),
        OptionalInt.empty());
  }

  /** Returns this search with other modes. */
  public EmbeddingSearch withModes(Mode ofQueries, Mode ofPassages) {
    return new EmbeddingSearch(encoder, ofQueries, ofPassages, cache, hnsw, signs);
  }

  /** Returns this search with vectors from a cache. */
  public EmbeddingSearch withCache(CachePlace place) {
    return new EmbeddingSearch(encoder, queries, passages, Optional.of(place), hnsw, signs);
  }

  /**
   * Returns this search by a graph, which finds most of the best passages; {@link Searcher#recall}
   * measures how many.
   */
  public EmbeddingSearch withHnsw(HnswOptions options) {
    return new EmbeddingSearch(
        encoder, queries, passages, cache, Optional.of(options), OptionalInt.empty());
  }

  /**
   * Returns this search by signs ({@link SignSearch}), which finds most of the best passages.
   *
   * @param oversampling how many candidates are scored for each hit, at least 1
   */
  public EmbeddingSearch withSigns(int oversampling) {
    return new EmbeddingSearch(
        encoder, queries, passages, cache, Optional.empty(), OptionalInt.of(oversampling));
  }

  @Override
  public Searcher open(TextSet texts, SearchListener listener) {
    StoredVectors vectors = collection(texts, listener);
    try {
      return new EmbeddingSearcher(this, vectors, searcher(vectors, listener), listener);
    } catch (RuntimeException | Error e) {
      vectors.close();
      throw e;
    }
  }

  private Searcher searcher(StoredVectors vectors, SearchListener listener) {
    if (hnsw.isPresent()) {
      return HnswIndex.open(vectors, hnsw.get(), encoder.lanes(), listener::note);
    }
    return signs.isPresent()
        ? SignSearch.open(vectors, signs.getAsInt(), encoder.lanes(), listener::note)
        : new ExactSearch(vectors, encoder.lanes());
  }

  StoredVectors encodeQueries(TextSet texts, SearchListener listener) {
    return encode(
        texts,
        encoder.forQueries(),
        queries,
        cache.map(place -> place.withStorage(VectorStorage.FLOAT32)),
        listener);
  }

  StoredVectors encodePassages(TextSet texts, SearchListener listener) {
    return encode(texts, encoder.forPassages(), passages, cache, listener);
  }

  private static StoredVectors encode(
      TextSet texts, Encoder kind, Mode mode, Optional<CachePlace> place, SearchListener listener) {
    return place.isPresent()
        ? CorpusVectors.open(texts, kind, mode, place.get(), listener::note)
        : CorpusVectors.open(texts, kind, mode);
  }

  /** Returns the vectors of the collection, from a file of their own if one was named. */
  private StoredVectors collection(TextSet texts, SearchListener listener) {
    if (cache.isPresent() && cache.get().passages().isPresent()) {
      Encoding encoding = new Encoding(encoder.forPassages(), passages, cache.get().model());
      return CorpusVectors.open(cache.get().passages().get(), texts, encoding);
    }
    listener.encoding("passages", texts.count());
    return encodePassages(texts, listener);
  }

  @Override
  public Map<String, String> settings() {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("search", hnsw.isPresent() ? "HNSW" : signs.isPresent() ? "signs" : "exact");
    signs.ifPresent(each -> values.put("candidates for each hit", String.valueOf(each)));
    hnsw.ifPresent(options -> values.put("graph", options.toString()));
    cache.ifPresent(place -> values.put("model sha256", place.model()));
    values.put("template", encoder.template().name());
    values.put("compute type", encoder.computeType().name());
    values.put("query max tokens", String.valueOf(encoder.forQueries().maxTokens()));
    values.put("passage max tokens", String.valueOf(encoder.forPassages().maxTokens()));
    values.put("dimension", String.valueOf(encoder.dimension()));
    values.put("normalized", String.valueOf(encoder.normalizes()));
    values.put("queries as", queries.name());
    values.put("passages as", passages.name());
    return values;
  }
}
