package io.llara.train.mining;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.HnswOptions;
import java.util.Optional;

/**
 * A search by a model's own embeddings: scores are inner products, the cosine where the model's
 * embeddings have length 1. An immutable value.
 *
 * @param encoder embeds queries and passages; the caller closes it
 * @param queries how queries are embedded
 * @param passages how passages are embedded
 * @param cache where vectors are kept, those of a collection and those of queries; without it they
 *     are made each time
 * @param hnsw how a graph over the passages is built, for collections that are too large to look at
 *     all of; without it the search is exact
 */
public record EmbeddingSearch(
    Encoder encoder,
    Mode queries,
    Mode passages,
    Optional<CachePlace> cache,
    Optional<HnswOptions> hnsw) {
  /** On so many queries the recall of a search by a graph is measured. */
  public static final int SAMPLED_QUERIES = 100;

  /** Returns the exact search: queries as {@link Mode#NEXT}, passages as {@link Mode#SELF}. */
  public static EmbeddingSearch of(Encoder encoder) {
    return new EmbeddingSearch(encoder, Mode.NEXT, Mode.SELF, Optional.empty(), Optional.empty());
  }

  /** Returns this search with other modes. */
  public EmbeddingSearch withModes(Mode ofQueries, Mode ofPassages) {
    return new EmbeddingSearch(encoder, ofQueries, ofPassages, cache, hnsw);
  }

  /** Returns this search with vectors from a cache. */
  public EmbeddingSearch withCache(CachePlace place) {
    return new EmbeddingSearch(encoder, queries, passages, Optional.of(place), hnsw);
  }

  /**
   * Returns this search by a graph, which finds most of the best passages; how many is measured on
   * {@value #SAMPLED_QUERIES} queries and reported.
   */
  public EmbeddingSearch withHnsw(HnswOptions options) {
    return new EmbeddingSearch(encoder, queries, passages, cache, Optional.of(options));
  }
}
