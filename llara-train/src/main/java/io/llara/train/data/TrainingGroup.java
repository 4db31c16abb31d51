package io.llara.train.data;

import com.google.common.collect.ImmutableList;
import java.util.List;

/**
 * What one step makes of a {@link TrainingPair}: the query and as many passages as every query of
 * the batch has. An immutable value.
 *
 * @param query the query
 * @param passages the positive passage first, then the negatives
 * @param origin where the pair was read, for messages
 */
public record TrainingGroup(String query, List<String> passages, String origin) {
  /** Copies the list. */
  public TrainingGroup {
    passages = ImmutableList.copyOf(passages);
  }
}
