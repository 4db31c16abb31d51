package io.llara.train.mining;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;
import io.llara.LlaraException;
import io.llara.retrieval.Hits;
import io.llara.train.mining.CandidateFilter.Excluded;
import io.llara.train.mining.CandidateFilter.Remaining;
import io.llara.train.mining.CandidateFilter.Rules;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.Set;
import java.util.function.IntUnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class CandidateFilterTest {
  private static final Excluded NOTHING = new Excluded(Set.of(), Set.of(), Set.of());
  private static final OptionalDouble NONE = OptionalDouble.empty();

  private static Rules window(int from, int to) {
    return new Rules(from, to, NONE, NONE, NONE, NONE);
  }

  private static Hits hits(double... scores) {
    return new Hits(
        ImmutableLongArray.copyOf(IntStream.range(0, scores.length).mapToLong(i -> i).toArray()),
        ImmutableDoubleArray.copyOf(scores));
  }

  private static List<Integer> places(Rules rules, OptionalDouble positive, double... scores) {
    // Places are ranks here.
    return new CandidateFilter(rules, IntUnaryOperator.identity())
        .apply(hits(scores), NOTHING, positive)
        .ranks();
  }

  @Test
  void theWindowCountsRanksFromZero() {
    assertThat(places(window(1, 3), NONE, 9, 8, 7, 6)).containsExactly(1, 2);
    assertThat(places(window(0, 9), NONE, 9, 8)).containsExactly(0, 1);
    assertThat(places(window(2, 9), NONE, 9, 8)).isEmpty();
  }

  @Test
  void boundsThemselvesAreAllowed() {
    Rules bounds = new Rules(0, 9, OptionalDouble.of(2), OptionalDouble.of(4), NONE, NONE);
    assertThat(places(bounds, NONE, 4.5, 4, 3, 2, 1.5)).containsExactly(1, 2, 3);
    Rules margin = new Rules(0, 9, NONE, NONE, OptionalDouble.of(0.5), NONE);
    assertThat(places(margin, OptionalDouble.of(4), 4, 3.75, 3.5, 3)).containsExactly(2, 3);
    Rules relative = new Rules(0, 9, NONE, NONE, NONE, OptionalDouble.of(0.25));
    assertThat(places(relative, OptionalDouble.of(4), 4, 3.5, 3, 2)).containsExactly(2, 3);
  }

  @Test
  void aRelativeMarginIsBelowANegativeScoreToo() {
    Rules relative = new Rules(0, 9, NONE, NONE, NONE, OptionalDouble.of(0.25));
    // Three quarters of -4 would be -3, above the positive.
    assertThat(places(relative, OptionalDouble.of(-4), -3, -4, -5, -6)).containsExactly(2, 3);
    assertThat(places(relative, OptionalDouble.of(0), 0.1, 0, -1)).containsExactly(1, 2);
  }

  @Test
  void withoutAPositivesScoreMarginsDoNotApply() {
    Rules margins = new Rules(0, 9, NONE, NONE, OptionalDouble.of(100), OptionalDouble.of(1));
    assertThat(places(margins, NONE, 9, 8)).containsExactly(0, 1);
    assertThat(places(margins, OptionalDouble.of(9), 9, 8)).isEmpty();
  }

  @Test
  void aTextThatRankedAboveTheWindowIsADuplicateInIt() {
    CandidateFilter filter = new CandidateFilter(window(2, 9), place -> place % 3);
    Remaining remaining = filter.apply(hits(9, 8, 7, 6, 5), NOTHING, NONE);
    assertThat(remaining.ranks()).containsExactly(2);
    assertThat(remaining.found()).isEqualTo(3);
    assertThat(remaining.drops()).isEqualTo(Map.of(DropReason.DUPLICATE, 2));
  }

  @Test
  void refusesAScoreThatIsNoNumber() {
    CandidateFilter filter = new CandidateFilter(window(0, 9), IntUnaryOperator.identity());
    assertThatThrownBy(() -> filter.apply(hits(9, Double.NaN), NOTHING, NONE))
        .isInstanceOf(LlaraException.class)
        .hasMessage("the score of passage 1 is NaN; expected a number");
  }

  @Property(tries = 500)
  void agreesWithASecondComputation(
      @ForAll Random random,
      @ForAll @IntRange(max = 12) int from,
      @ForAll @IntRange(min = 1, max = 12) int width,
      @ForAll @IntRange(max = 25) int found) {
    // Few texts and round scores: everything coincides often.
    int[] texts = random.ints(40, 0, 12).toArray();
    List<Integer> ranking = new ArrayList<>(IntStream.range(0, texts.length).boxed().toList());
    Collections.shuffle(ranking, random);
    ranking = ranking.subList(0, found);
    double[] scores =
        random
            .ints(found, -8, 9)
            .mapToDouble(i -> i / 4.0)
            .boxed()
            .sorted(Collections.reverseOrder())
            .mapToDouble(d -> d)
            .toArray();
    Rules rules =
        new Rules(
            from,
            from + width,
            maybe(random, -1.5),
            maybe(random, 1.5),
            maybe(random, 0.25),
            maybe(random, 0.5));
    Excluded excluded = new Excluded(some(random, 1), some(random, 3), some(random, 2));
    OptionalDouble positive = maybe(random, random.nextInt(9) / 4.0 - 1);

    Remaining remaining =
        new CandidateFilter(rules, place -> texts[place])
            .apply(
                new Hits(
                    ImmutableLongArray.copyOf(ranking.stream().mapToLong(i -> i).toArray()),
                    ImmutableDoubleArray.copyOf(scores)),
                excluded,
                positive);

    List<Integer> expected = new ArrayList<>();
    Map<DropReason, Integer> drops = new EnumMap<>(DropReason.class);
    for (int rank = from; rank < Math.min(from + width, found); rank++) {
      int place = ranking.get(rank);
      int text = texts[place];
      double score = scores[rank];
      List<DropReason> reasons = new ArrayList<>();
      if (excluded.positives().contains(text)) {
        reasons.add(DropReason.POSITIVE);
      }
      if (excluded.query().contains(text)) {
        reasons.add(DropReason.QUERY);
      }
      if (ranking.subList(0, rank).stream().anyMatch(other -> texts[other] == text)) {
        reasons.add(DropReason.DUPLICATE);
      }
      if (excluded.negatives().contains(text)) {
        reasons.add(DropReason.ALREADY_NEGATIVE);
      }
      rules
          .leastScore()
          .ifPresent(least -> addIf(reasons, score < least, DropReason.BELOW_LEAST_SCORE));
      rules
          .greatestScore()
          .ifPresent(greatest -> addIf(reasons, score > greatest, DropReason.ABOVE_GREATEST_SCORE));
      positive.ifPresent(
          bound -> {
            rules
                .margin()
                .ifPresent(margin -> addIf(reasons, bound - score < margin, DropReason.MARGIN));
            rules
                .relativeMargin()
                .ifPresent(
                    share -> {
                      double ratio = bound >= 0 ? 1 - share : 1 + share;
                      addIf(reasons, score > ratio * bound, DropReason.RELATIVE_MARGIN);
                    });
          });
      if (reasons.isEmpty()) {
        expected.add(rank);
      } else {
        drops.merge(reasons.get(0), 1, Integer::sum);
      }
    }
    assertThat(remaining.ranks()).isEqualTo(expected);
    assertThat(remaining.drops()).isEqualTo(drops);
    assertThat(remaining.found())
        .isEqualTo(expected.size() + drops.values().stream().mapToInt(i -> i).sum());
  }

  private static void addIf(List<DropReason> reasons, boolean holds, DropReason reason) {
    if (holds) {
      reasons.add(reason);
    }
  }

  private static OptionalDouble maybe(Random random, double value) {
    return random.nextBoolean() ? OptionalDouble.of(value) : NONE;
  }

  private static Set<Integer> some(Random random, int most) {
    return random.ints(random.nextInt(most + 1), 0, 12).boxed().collect(Collectors.toSet());
  }
}
