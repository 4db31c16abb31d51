package io.llara.train.data;

import com.google.common.collect.ImmutableList;
import java.util.List;

/**
 * A query with passages that answer it and passages that do not, before tokenising. An immutable
 * value.
 *
 * @param query the query
 * @param positives passages that answer it, at least one
 * @param negatives passages that do not, often hard ones that a search brought up; may be empty
 * @param origin where it was read, for messages: {@code file:line}, counted from 1
 */
public record TrainingPair(
    String query, List<String> positives, List<String> negatives, String origin) {
  /**
   * Copies the lists.
   *
   * @throws IllegalArgumentException if there is no positive
   */
  public TrainingPair {
    positives = ImmutableList.copyOf(positives);
    negatives = ImmutableList.copyOf(negatives);
    if (positives.isEmpty()) {
      throw new IllegalArgumentException(origin + ": the query has no positive passage");
    }
  }

  /** Returns all passages: the positives, then the negatives. */
  public List<String> passages() {
    return ImmutableList.<String>builder().addAll(positives).addAll(negatives).build();
  }
}
