package io.llara.prompt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.Mode;
import org.junit.jupiter.api.Test;

class PromptTest {
  private static final PromptBuilder BUILDER =
      PromptBuilder.ofIds(new int[] {1, 9}, new int[] {20, 21}, new int[] {30, 31, 32}, 1);

  @Test
  void plainPromptIsAllTextAndPoolsNothing() {
    Prompt prompt = Prompt.plain(new int[] {4, 5, 6});

    assertThat(prompt.ids()).containsExactly(4, 5, 6);
    assertThat(prompt.textIds()).containsExactly(4, 5, 6);
    assertThat(prompt.positions()).containsExactly(0, 1, 2);
    assertThat(prompt.prefixLength()).isZero();
    assertThat(prompt.isJoint()).isFalse();
    assertThat(prompt.pooled(Mode.SELF).isEmpty()).isTrue();
    assertThat(prompt.pooled(Mode.NEXT).isEmpty()).isTrue();
  }

  @Test
  void plainPromptNeedsIds() {
    assertThatThrownBy(() -> Prompt.plain(new int[0]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("at least one");
    assertThatThrownBy(() -> Prompt.plain(new int[] {3, -1}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("id 1 is negative: -1");
  }

  @Test
  void jointPromptHoldsBothSuffixesAndRestartsPositionsAfterTheText() {
    Prompt prompt = BUILDER.jointFromIds(new int[] {5, 6, 7});

    assertThat(prompt.ids()).containsExactly(1, 9, 5, 6, 7, 20, 21, 30, 31, 32);
    assertThat(prompt.positions()).containsExactly(0, 1, 2, 3, 4, 5, 6, 5, 6, 7);
    assertThat(prompt.isJoint()).isTrue();
    assertThat(prompt.prefixLength()).isEqualTo(2);
    assertThat(prompt.textLength()).isEqualTo(3);
    assertThat(prompt.selfLength()).isEqualTo(2);
    assertThat(prompt.nextLength()).isEqualTo(3);
    assertThat(prompt.textEnd()).isEqualTo(5);
    assertThat(prompt.nextBegin()).isEqualTo(7);
    assertThat(prompt.textIds()).containsExactly(5, 6, 7);
    assertThat(prompt.pooledSelf()).isEqualTo(new TokenRange(6, 7));
    assertThat(prompt.pooledNext()).isEqualTo(new TokenRange(9, 10));
  }

  @Test
  void positionsOfOneModeRunOn() {
    assertThat(BUILDER.fromIds(new int[] {5}, Mode.SELF).positions())
        .containsExactly(0, 1, 2, 3, 4);
    assertThat(BUILDER.fromIds(new int[] {5}, Mode.NEXT).positions())
        .containsExactly(0, 1, 2, 3, 4, 5);
  }

  @Test
  void copiesGoWhereTheyAreWanted() {
    Prompt prompt = BUILDER.jointFromIds(new int[] {5});
    int[] ids = new int[10];
    int[] positions = new int[10];

    prompt.copyIdsTo(ids, 1);
    prompt.copyPositionsTo(positions, 1, 100);

    assertThat(ids).containsExactly(0, 1, 9, 5, 20, 21, 30, 31, 32, 0);
    assertThat(positions).containsExactly(0, 100, 101, 102, 103, 104, 103, 104, 105, 0);
  }

  @Test
  void arraysAreCopies() {
    int[] given = {4, 5};
    Prompt prompt = Prompt.plain(given);

    given[0] = 99;
    prompt.ids()[0] = 99;
    prompt.textIds()[0] = 99;

    assertThat(prompt.ids()).containsExactly(4, 5);
  }

  @Test
  void equalPartsMakeEqualPrompts() {
    Prompt self = BUILDER.fromIds(new int[] {5}, Mode.SELF);

    assertThat(BUILDER.fromIds(new int[] {5}, Mode.SELF)).isEqualTo(self).hasSameHashCodeAs(self);
    assertThat(Prompt.plain(self.ids())).isNotEqualTo(self);
    assertThat(BUILDER.fromIds(new int[] {6}, Mode.SELF)).isNotEqualTo(self);
    assertThat(BUILDER.fromIds(new int[] {5, 6, 7}, Mode.SELF, 6)).isNotEqualTo(self);
    assertThat(self).isNotEqualTo("a string");
    assertThat(self.toString()).contains("text 1").contains("[1, 9, 5, 20, 21]");
  }

  @Test
  void rangesNeedOrderedBounds() {
    assertThat(new TokenRange(2, 5).length()).isEqualTo(3);
    assertThatThrownBy(() -> new TokenRange(3, 2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("[3, 2)");
    assertThatThrownBy(() -> new TokenRange(-1, 2)).isInstanceOf(IllegalArgumentException.class);
  }
}
