package io.llara.train.contrastive;

import com.google.common.collect.ImmutableList;
import java.util.List;

/**
 * What a teacher says of a query and its passages. An immutable value; the arrays must not change.
 *
 * @param vectors the teacher's vectors, of length 1: of the query, then of each passage; empty if
 *     there are none
 * @param scores the teacher's score of each passage; empty if there are none
 */
record SoftTargets(List<float[]> vectors, List<Double> scores) {
  static final SoftTargets NONE = new SoftTargets(List.of(), List.of());

  /** Copies the lists. */
  SoftTargets {
    vectors = ImmutableList.copyOf(vectors);
    scores = ImmutableList.copyOf(scores);
  }
}
