package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;

class GroupSamplerTest {
  private static TrainingPair pair(int positives, int negatives) {
    return new TrainingPair(
        "q",
        IntStream.range(0, positives).mapToObj(i -> "p" + i).toList(),
        IntStream.range(0, negatives).mapToObj(i -> "n" + i).toList(),
        "f:1");
  }

  @Property(tries = 300)
  void aGroupIsAPositiveAndNegativesTakenAsEvenlyAsTheyMust(
      @ForAll @IntRange(min = 1, max = 4) int positives,
      @ForAll @IntRange(min = 1, max = 9) int available,
      @ForAll @IntRange(max = 20) int wanted,
      @ForAll long seed,
      @ForAll @LongRange(min = 0) long position) {
    GroupSampler sampler = new GroupSampler(wanted, FewNegatives.REPEAT, seed);
    TrainingPair group = sampler.sample(pair(positives, available), position);

    assertThat(group.passages()).hasSize(sampler.size()).hasSize(wanted + 1);
    assertThat(group.passages().get(0)).startsWith("p");
    List<String> negatives = group.passages().subList(1, wanted + 1);
    assertThat(negatives).allMatch(text -> text.startsWith("n"));
    int most = Math.max(1, (wanted + available - 1) / available);
    assertThat(negatives)
        .allSatisfy(
            text ->
                assertThat(negatives.stream().filter(text::equals).count())
                    .isLessThanOrEqualTo(most));
    // Another sampler, in another order of calls, draws the same.
    GroupSampler other = new GroupSampler(wanted, FewNegatives.REPEAT, seed);
    other.sample(pair(1, 5), position + 1);
    assertThat(other.sample(pair(positives, available), position)).isEqualTo(group);
  }

  @Test
  void anotherPositionOrSeedDrawsOthers() {
    TrainingPair pair = pair(5, 20);
    Set<TrainingPair> drawn = new HashSet<>();
    for (int i = 0; i < 50; i++) {
      drawn.add(new GroupSampler(7, FewNegatives.REFUSE, 1).sample(pair, i));
      drawn.add(new GroupSampler(7, FewNegatives.REFUSE, 2).sample(pair, i));
    }
    assertThat(drawn).hasSize(100);
    Set<String> texts = new HashSet<>();
    drawn.forEach(group -> texts.addAll(group.passages()));
    assertThat(texts).hasSize(25);
  }

  /** A change here breaks the resuming of runs that an earlier version began. */
  @Test
  void drawsStayAsTheyAre() {
    assertThat(new GroupSampler(4, FewNegatives.REPEAT, 1).sample(pair(3, 6), 10).passages())
        .containsExactly("p0", "n2", "n5", "n4", "n1");
  }

  @Test
  void tooFewNegativesAreRepeatedOrRefused() {
    GroupSampler refusing = new GroupSampler(3, FewNegatives.REFUSE, 1);
    assertThat(refusing.minNegatives()).isEqualTo(3);
    assertThat(refusing.sample(pair(1, 3), 0).passages())
        .containsExactlyInAnyOrder("p0", "n0", "n1", "n2");
    assertThatThrownBy(() -> refusing.sample(pair(1, 2), 0))
        .isInstanceOf(LlaraException.class)
        .hasMessage("f:1: 2 negatives for a group of 3; at least 3 are needed");
    GroupSampler repeating = new GroupSampler(3, FewNegatives.REPEAT, 1);
    assertThat(repeating.minNegatives()).isEqualTo(1);
    assertThat(repeating.sample(pair(1, 1), 0).passages()).containsExactly("p0", "n0", "n0", "n0");
    assertThatThrownBy(() -> repeating.sample(pair(1, 0), 0)).isInstanceOf(LlaraException.class);
  }

  @Test
  void aGroupMayBeThePositiveAlone() {
    for (FewNegatives few : FewNegatives.values()) {
      GroupSampler sampler = new GroupSampler(0, few, 1);
      assertThat(sampler.minNegatives()).isZero();
      assertThat(sampler.sample(pair(1, 0), 5).passages()).containsExactly("p0");
    }
    assertThatThrownBy(() -> new GroupSampler(-1, FewNegatives.REPEAT, 1))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
