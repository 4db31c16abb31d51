package io.llara.examples.search;

import io.llara.Similarity;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;

/** Keeps the passages nearest to a query by cosine. Of equal ones the earlier comes first. */
public final class BestPassages {
  private static final Comparator<Hit> WORST_FIRST =
      Comparator.comparingDouble(Hit::score)
          .thenComparing(Comparator.comparingLong(Hit::index).reversed());

  private final float[] query;
  private final int limit;
  private final PriorityQueue<Hit> hits = new PriorityQueue<>(WORST_FIRST);

  /**
   * A passage that was found.
   *
   * @param index its place in the collection, documents without text not counted
   * @param score its cosine with the query
   */
  public record Hit(long index, double score) {}

  /**
   * Creates an empty list.
   *
   * @param query the query's vector
   * @param limit how many passages to keep
   */
  public BestPassages(float[] query, int limit) {
    this.query = query;
    this.limit = limit;
  }

  /** Looks at the vector of a passage. */
  public void offer(long index, float[] vector) {
    hits.add(new Hit(index, Similarity.cosine(query, vector)));
    if (hits.size() > limit) {
      hits.remove();
    }
  }

  /** Forgets all passages. */
  public void clear() {
    hits.clear();
  }

  /** Returns the passages, the best first. */
  public List<Hit> ranked() {
    List<Hit> ranked = new ArrayList<>(hits);
    ranked.sort(WORST_FIRST.reversed());
    return ranked;
  }
}
