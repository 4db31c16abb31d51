package io.llara.retrieval;

import java.util.Map;

/**
 * How collections are searched: {@link EmbeddingSearch}, {@link Bm25Search}, {@link HybridSearch},
 * or a way of your own. Evaluation and mining take a method and open a {@link Searcher} for the
 * collection at hand.
 *
 * <pre>{@code
 * try (Searcher searcher = new Bm25Search(Bm25Options.DEFAULT).open(corpus)) {
 *   Hits hits = searcher.search(Query.of("how do llamas carry loads"), 10);
 * }
 * }</pre>
 */
@FunctionalInterface
public interface SearchMethod {

  /**
   * Opens a searcher for a collection, which indexes or encodes all of it, or takes its vectors
   * from a cache. The caller closes the searcher.
   *
   * @param passages the collection; the indices of hits count its passages from 0
   * @throws io.llara.LlaraException if the collection cannot be read or encoded, or changed since
   *     its digest was made
   */
  Searcher open(TextSet passages, SearchListener listener);

  /** Opens a searcher for a collection in BEIR format, which is read once more for it. */
  default Searcher open(Corpus corpus) {
    return open(TextSet.of(corpus), SearchListener.NONE);
  }

  /** Returns what decides the results, by name, for reports. */
  default Map<String, String> settings() {
    return Map.of();
  }
}
