package io.llara.retrieval;

import java.util.Collections;
import java.util.List;
import java.util.OptionalDouble;

/**
 * Finds the documents of one collection that match queries best: by vectors ({@link ExactSearch},
 * {@link HnswIndex}), by words ({@link Bm25Index}), by both ({@link HybridSearcher}), or in a way
 * of your own. A {@link SearchMethod} opens one for a collection.
 *
 * <p>Many queries at once are searched faster than one after another.
 *
 * <p>Implementations are thread-safe. Closing twice is harmless; a search after closing throws
 * {@link IllegalStateException}.
 */
public interface Searcher extends AutoCloseable {

  /**
   * A passage whose score for a query is wanted, whatever its rank.
   *
   * @param index its index in the collection, or -1 if it is not there
   * @param text the passage
   */
  record Candidate(Query query, long index, String text) {}

  /**
   * Returns the best documents for each query.
   *
   * @param k how many for each query, at least 1; there may be fewer
   * @return the hits of each query, in the order of the queries
   * @throws IllegalArgumentException if {@code k} is not positive, a query has not what this
   *     searcher needs (a text, or a vector of the collection's dimension)
   * @throws io.llara.LlaraException if a query cannot be encoded, the collection cannot be read, or
   *     this thread is interrupted
   */
  List<Hits> search(List<Query> queries, int k);

  /**
   * Returns how many queries whoever has more should search for at a time: a search may read all of
   * the collection once, however many there are.
   *
   * @param k as for {@link #search(List, int)}
   */
  default int batch(int k) {
    return 4096;
  }

  /** Returns the best documents for one query. */
  default Hits search(Query query, int k) {
    return search(List.of(query), k).get(0);
  }

  /**
   * Returns the queries with what this searcher would have to make for each search, such as the
   * vectors of their texts. Worth a call for queries that are used several times.
   */
  default List<Query> prepare(List<Query> queries) {
    return queries;
  }

  /**
   * Returns the scores of given passages, on the scale of the hits' scores.
   *
   * @return in the order of the candidates; empty where this searcher has no score for one
   */
  default List<OptionalDouble> score(List<Candidate> candidates) {
    return Collections.nCopies(candidates.size(), OptionalDouble.empty());
  }

  /**
   * Measures how much an approximate searcher misses: recall@k against exact search, as a mean over
   * a hundred of the queries.
   *
   * @return a share from 0 to 1; empty if this searcher is exact, or does not know
   */
  default OptionalDouble recall(List<Query> queries, int k) {
    return OptionalDouble.empty();
  }

  @Override
  void close();
}
