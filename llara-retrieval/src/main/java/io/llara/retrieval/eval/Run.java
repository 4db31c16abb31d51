package io.llara.retrieval.eval;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What a system found for each of many queries.
 *
 * @param name the system's
 * @param rankings by the id of the query
 */
public record Run(String name, Map<String, Ranking> rankings) {
  /** Copies the rankings, in their order. */
  public Run {
    rankings = Collections.unmodifiableMap(new LinkedHashMap<>(rankings));
  }

  /** Returns the ranking for a query; an empty one if there is none. */
  public Ranking ranking(String queryId) {
    return rankings.getOrDefault(queryId, Ranking.EMPTY);
  }
}
