package io.llara.train.mining;

import io.llara.LlaraException;
import io.llara.retrieval.Hits;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.IntUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Decides which of the passages found for a query may be its negatives.
 *
 * @param texts gives for a place in the collection the number of its text: the same for passages of
 *     the same text
 */
record CandidateFilter(Rules rules, IntUnaryOperator texts) {

  /**
   * The window of ranks and the bounds of scores.
   *
   * @param from the first rank of the window, the best being 0
   * @param to the rank after the window's last
   * @param leastScore what a negative's score must not be below
   * @param greatestScore what a negative's score must not be above
   * @param margin how far below the positive's score it must be
   * @param relativeMargin the same, as a share of the positive's score
   */
  record Rules(
      int from,
      int to,
      OptionalDouble leastScore,
      OptionalDouble greatestScore,
      OptionalDouble margin,
      OptionalDouble relativeMargin) {

    /** Returns whether the scores of positives are needed. */
    boolean needPositives() {
      return margin.isPresent() || relativeMargin.isPresent();
    }
  }

  /**
   * What must not be a negative of a pair, as numbers of the collection's distinct texts.
   *
   * @param query the query itself
   * @param positives all known positives of the query
   * @param negatives the pair's negatives that are kept
   */
  record Excluded(Set<Integer> query, Set<Integer> positives, Set<Integer> negatives) {}

  /**
   * What remains of the passages found.
   *
   * @param ranks the ranks of those in the window that may be negatives, best first
   * @param found how many the window held
   * @param drops how many were dropped, by reason
   */
  record Remaining(List<Integer> ranks, int found, Map<DropReason, Integer> drops) {}

  /**
   * Applies the rules.
   *
   * @param hits what was found, from rank 0 on
   * @param positive the score that margins are measured from; without it they do not apply
   * @throws LlaraException if a score is not a number
   */
  Remaining apply(Hits hits, Excluded excluded, OptionalDouble positive) {
    List<Integer> ranks = new ArrayList<>();
    Map<DropReason, Integer> drops = new EnumMap<>(DropReason.class);
    Set<Integer> higher = new HashSet<>();
    int end = Math.min(rules.to(), hits.size());
    for (int rank = 0; rank < end; rank++) {
      int place = Math.toIntExact(hits.indices().get(rank));
      double score = hits.scores().get(rank);
      if (Double.isNaN(score)) {
        throw new LlaraException(
            "the score of passage %d is NaN; expected a number".formatted(place));
      }
      int text = texts.applyAsInt(place);
      // Those above the window count too: their text is too near to the query at any rank.
      boolean duplicate = !higher.add(text);
      if (rank >= rules.from()) {
        DropReason reason = reason(text, duplicate, score, excluded, positive);
        if (reason == null) {
          ranks.add(rank);
        } else {
          drops.merge(reason, 1, Integer::sum);
        }
      }
    }
    return new Remaining(ranks, Math.max(0, end - rules.from()), drops);
  }

  private @Nullable DropReason reason(
      int text, boolean duplicate, double score, Excluded excluded, OptionalDouble positive) {
    if (excluded.positives().contains(text)) {
      return DropReason.POSITIVE;
    }
    if (excluded.query().contains(text)) {
      return DropReason.QUERY;
    }
    if (duplicate) {
      return DropReason.DUPLICATE;
    }
    if (excluded.negatives().contains(text)) {
      return DropReason.ALREADY_NEGATIVE;
    }
    if (score < rules.leastScore().orElse(Double.NEGATIVE_INFINITY)) {
      return DropReason.BELOW_LEAST_SCORE;
    }
    if (score > rules.greatestScore().orElse(Double.POSITIVE_INFINITY)) {
      return DropReason.ABOVE_GREATEST_SCORE;
    }
    if (positive.isPresent()) {
      double bound = positive.getAsDouble();
      if (rules.margin().isPresent() && score > bound - rules.margin().getAsDouble()) {
        return DropReason.MARGIN;
      }
      if (rules.relativeMargin().isPresent()
          && score > bound - rules.relativeMargin().getAsDouble() * Math.abs(bound)) {
        return DropReason.RELATIVE_MARGIN;
      }
    }
    return null;
  }
}
