package io.llara.train;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * How well the model retrieves, measured while it trains. Immutable.
 *
 * @param step the step after which
 * @param ndcg nDCG@10, the mean over the collections
 * @param collections nDCG@10 by the name of the collection, in their order
 * @param best whether it is better than at any step before, so that the model of this step is kept
 */
public record RetrievalReport(
    long step, double ndcg, Map<String, Double> collections, boolean best) {
  /** Copies the map. */
  public RetrievalReport {
    collections = Collections.unmodifiableMap(new LinkedHashMap<>(collections));
  }
}
