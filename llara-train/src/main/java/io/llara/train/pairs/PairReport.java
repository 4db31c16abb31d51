package io.llara.train.pairs;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What was written to a file of pairs. An immutable value.
 *
 * @param pairs how many pairs
 * @param positives how many positive passages they have, all together
 * @param negatives how many negative ones
 * @param leftOut what was left out, in words, with how often
 */
public record PairReport(long pairs, long positives, long negatives, Map<String, Long> leftOut) {
  /** Copies the map, in its order. */
  public PairReport {
    leftOut = Collections.unmodifiableMap(new LinkedHashMap<>(leftOut));
  }
}
