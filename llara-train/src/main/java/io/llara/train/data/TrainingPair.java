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
 * @param scores a teacher's score of each of the {@link #passages}; empty if there are none
 * @param origin where it was read, for messages: {@code file:line}, counted from 1
 */
public record TrainingPair(
    String query,
    List<String> positives,
    List<String> negatives,
    List<Double> scores,
    String origin) {
  /**
   * Copies the lists.
   *
   * @throws IllegalArgumentException if there is no positive, or there are scores, but not one for
   *     each passage
   */
  public TrainingPair {
    positives = ImmutableList.copyOf(positives);
    negatives = ImmutableList.copyOf(negatives);
    scores = ImmutableList.copyOf(scores);
    if (positives.isEmpty()) {
      throw new IllegalArgumentException(origin + ": the query has no positive passage");
    }
    int passages = positives.size() + negatives.size();
    if (!scores.isEmpty() && scores.size() != passages) {
      throw new IllegalArgumentException(
          "%s: %d scores for %d passages".formatted(origin, scores.size(), passages));
    }
  }

  /** Makes a pair without scores. */
  public TrainingPair(String query, List<String> positives, List<String> negatives, String origin) {
    this(query, positives, negatives, List.of(), origin);
  }

  /** Returns all passages: the positives, then the negatives. */
  public List<String> passages() {
    return ImmutableList.<String>builder().addAll(positives).addAll(negatives).build();
  }
}
