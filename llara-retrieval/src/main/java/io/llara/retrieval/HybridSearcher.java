package io.llara.retrieval;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;

/**
 * Two searchers of one collection whose rankings become one: words find names and rare terms,
 * embeddings what is said otherwise.
 *
 * <p>Each is searched for a thousand documents, or {@code k} if that is more: the best ten are the
 * first of the best hundred.
 */
public final class HybridSearcher implements Searcher {
  private static final int DEPTH = 1000;

  private final Searcher first;
  private final Searcher second;
  private final Fusion fusion;

  /**
   * Creates the search.
   *
   * @param first searches the collection; closed with this
   * @param second searches the same collection; closed with this
   */
  public HybridSearcher(Searcher first, Searcher second, Fusion fusion) {
    this.first = first;
    this.second = second;
    this.fusion = fusion;
  }

  @Override
  public List<Hits> search(List<Query> queries, int k) {
    Hits.requireCount(k);
    return search(queries, Math.max(k, DEPTH), k);
  }

  @Override
  public int batch(int k) {
    int depth = Math.max(k, DEPTH);
    return Math.min(first.batch(depth), second.batch(depth));
  }

  private List<Hits> search(List<Query> queries, int depth, int k) {
    List<Hits> some = first.search(queries, depth);
    List<Hits> others = second.search(queries, depth);
    List<Hits> fused = new ArrayList<>(queries.size());
    for (int i = 0; i < queries.size(); i++) {
      fused.add(fusion.fuse(some.get(i), others.get(i), k));
    }
    return fused;
  }

  /** Searches once more: scores come from rankings, and only what is found has one. */
  @Override
  public List<OptionalDouble> score(List<Candidate> candidates) {
    List<Query> queries = candidates.stream().map(Candidate::query).distinct().toList();
    List<Hits> hits = search(queries, DEPTH, 2 * DEPTH);
    Map<Query, Hits> byQuery = new HashMap<>();
    for (int i = 0; i < queries.size(); i++) {
      byQuery.put(queries.get(i), hits.get(i));
    }
    return candidates.stream()
        .map(candidate -> score(byQuery.getOrDefault(candidate.query(), Hits.NONE), candidate))
        .toList();
  }

  private static OptionalDouble score(Hits hits, Candidate candidate) {
    int rank = hits.indices().indexOf(candidate.index());
    return rank < 0 ? OptionalDouble.empty() : OptionalDouble.of(hits.scores().get(rank));
  }

  @Override
  public OptionalDouble recall(List<Query> queries, int k) {
    OptionalDouble recall = first.recall(queries, k);
    return recall.isPresent() ? recall : second.recall(queries, k);
  }

  @Override
  public void close() {
    try {
      first.close();
    } finally {
      second.close();
    }
  }
}
