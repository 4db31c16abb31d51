package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;

class BagTest {
  private static Map<Integer, Double> contents(Bag bag) {
    Map<Integer, Double> contents = new LinkedHashMap<>();
    for (int i = 0; i < bag.size(); i++) {
      contents.put(bag.id(i), bag.weight(i));
    }
    return contents;
  }

  @Test
  void setTakesEveryWordOnceAndNoControlId() {
    Bag bag = Bag.ofSet(new int[] {1, 9, 7, 9, 0, 2, 9, 3, 0, 0});

    assertThat(contents(bag)).containsExactlyEntriesOf(orderedThirds(3, 7, 9));
  }

  private static Map<Integer, Double> orderedThirds(int a, int b, int c) {
    Map<Integer, Double> map = new LinkedHashMap<>();
    for (int id : new int[] {a, b, c}) {
      map.put(id, 1 / 3.0);
    }
    return map;
  }

  @Test
  void tokensCountAsOftenAsTheyOccur() {
    Bag bag = Bag.ofTokens(new int[] {9, 2, 9, 5});

    assertThat(contents(bag)).isEqualTo(Map.of(2, 0.25, 5, 0.25, 9, 0.5));
  }

  @Test
  void controlIdsAloneMakeAnEmptySetButNotAnEmptyListOfTokens() {
    assertThat(Bag.ofSet(new int[] {0, 1, 2, 2}).isEmpty()).isTrue();
    assertThat(Bag.ofSet(new int[0]).isEmpty()).isTrue();
    assertThat(Bag.ofTokens(new int[0]).isEmpty()).isTrue();
    assertThat(Bag.ofTokens(new int[] {0}).isEmpty()).isFalse();
  }

  @Test
  void theGivenArrayIsNotTouched() {
    int[] ids = {9, 3, 9};

    Bag.ofSet(ids);
    Bag.ofTokens(ids);

    assertThat(ids).containsExactly(9, 3, 9);
  }

  @Property
  void weightsSumToOneAndIdsAscend(
      @ForAll @Size(min = 1, max = 40) int[] drawn,
      @ForAll @IntRange(min = 3, max = 50) int range) {
    int[] ids = Arrays.stream(drawn).map(id -> Math.floorMod(id, range)).toArray();

    for (Bag bag : new Bag[] {Bag.ofSet(ids), Bag.ofTokens(ids)}) {
      double sum = 0;
      for (int i = 0; i < bag.size(); i++) {
        assertThat(i == 0 || bag.id(i - 1) < bag.id(i)).isTrue();
        sum += bag.weight(i);
      }
      assertThat(sum).isEqualTo(bag.isEmpty() ? 0 : 1, within(1e-12));
    }
  }
}
