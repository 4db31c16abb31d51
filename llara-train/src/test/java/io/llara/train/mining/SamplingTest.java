package io.llara.train.mining;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.common.hash.HashCode;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class SamplingTest {
  private static List<Integer> ranked(int count) {
    return IntStream.range(0, count).boxed().toList();
  }

  @Property(tries = 300)
  void choosesSoManyOfThemInTheirOrderEachOnce(
      @ForAll @IntRange(max = 30) int available,
      @ForAll @IntRange(min = 1, max = 30) int wanted,
      @ForAll long seed) {
    for (Sampling sampling : Sampling.values()) {
      List<Integer> chosen = sampling.choose(ranked(available), wanted, seed);
      assertThat(chosen)
          .hasSize(Math.min(available, wanted))
          .isSubsetOf(ranked(available))
          .isSorted()
          .doesNotHaveDuplicates()
          .isEqualTo(sampling.choose(ranked(available), wanted, seed));
    }
  }

  @Test
  void topIsTheBest() {
    assertThat(Sampling.TOP.choose(ranked(9), 3, 5)).containsExactly(0, 1, 2);
  }

  @Test
  void atRandomEachHasTheSameChance() {
    int[] counts = new int[10];
    int draws = 20_000;
    for (int draw = 0; draw < draws; draw++) {
      long seed = Sampling.seed(7, List.of(PairTexts.key("query " + draw)));
      Sampling.RANDOM.choose(ranked(10), 3, seed).forEach(i -> counts[i]++);
    }
    for (int count : counts) {
      // Five standard deviations of a share of three tenths.
      assertThat((double) count / draws).isCloseTo(0.3, within(5 * Math.sqrt(0.21 / draws)));
    }
  }

  @Test
  void seedsDifferByTextAndByNumber() {
    Set<Long> seeds = new HashSet<>();
    for (long seed = 0; seed < 10; seed++) {
      for (int text = 0; text < 10; text++) {
        seeds.add(Sampling.seed(seed, List.of(PairTexts.key("text " + text))));
      }
    }
    assertThat(seeds).hasSize(100);
  }

  /** What was drawn with a seed stays what is drawn with it, from release to release. */
  @Test
  void seedsStayTheSame() {
    assertThat(Sampling.seed(42, List.of(PairTexts.key("a query"), PairTexts.key("a passage"))))
        .isEqualTo(-1701856386536771777L);
    assertThat(PairTexts.key("a  query")).hasToString("d1f3ced0a6b038eaa9892df5ab70efcc");
  }

  @Test
  void textsAreTheSameWhateverTheirWhiteSpace() {
    HashCode key = PairTexts.key("a llama and b");
    assertThat(List.of(" a llama  and b", "a\tllama\r\nand\u00a0b\n", "a\u2003llama and b "))
        .allSatisfy(text -> assertThat(PairTexts.key(text)).isEqualTo(key));
    assertThat(List.of("a llama andb", "A llama and b", "a llama, and b", ""))
        .allSatisfy(text -> assertThat(PairTexts.key(text)).isNotEqualTo(key));
    assertThat(key.toString()).matches("[0-9a-f]{32}");
  }
}
