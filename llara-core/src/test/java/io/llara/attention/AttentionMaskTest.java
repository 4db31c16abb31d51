package io.llara.attention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.Mode;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.TokenRange;
import java.util.List;
import org.junit.jupiter.api.Test;

class AttentionMaskTest {
  private static final PromptBuilder BUILDER =
      PromptBuilder.ofIds(new int[] {1}, new int[] {20, 21}, new int[] {30, 31, 32}, 1);
  private static final Prompt SELF = BUILDER.fromIds(new int[] {5, 6}, Mode.SELF); // 5 tokens
  private static final Prompt JOINT = BUILDER.jointFromIds(new int[] {5, 6}); // 8 tokens

  @Test
  void plainPromptIsOneCausalSpan() {
    AttentionMask mask = AttentionMaskFactory.create(List.of(SELF), Layout.packed());

    assertThat(mask.spans()).containsExactly(new Span(0, 5, List.of(new KeyRange(0, 5)), true));
    assertThat(mask.visibility(0)).containsExactly("10000", "11000", "11100", "11110", "11111");
  }

  @Test
  void jointPromptIsTwoSpansAndNextDoesNotSeeSelf() {
    AttentionMask mask = AttentionMaskFactory.create(List.of(JOINT), Layout.packed());

    assertThat(mask.spans())
        .containsExactly(
            new Span(0, 5, List.of(new KeyRange(0, 5)), true),
            new Span(5, 8, List.of(new KeyRange(0, 3), new KeyRange(5, 8)), true));
    assertThat(mask.visibility(0))
        .containsExactly(
            "10000000",
            "11000000",
            "11100000",
            "11110000",
            "11111000",
            "11100100",
            "11100110",
            "11100111");
    assertThat(mask.positions()).containsExactly(0, 1, 2, 3, 4, 3, 4, 5);
  }

  @Test
  void withVisibleSelfAJointPromptIsPlainlyCausal() {
    AttentionMask mask =
        AttentionMaskFactory.create(List.of(JOINT), Layout.packed().withVisibleSelf());

    assertThat(mask.spans()).hasSize(1);
    String[] visibility = mask.visibility(0);
    for (int row = 0; row < visibility.length; row++) {
      assertThat(visibility[row])
          .isEqualTo("1".repeat(row + 1) + "0".repeat(visibility.length - row - 1));
    }
    assertThat(mask.positions()).containsExactly(0, 1, 2, 3, 4, 5, 6, 7);
    assertThat(mask.pooled(0, Mode.NEXT)).isEqualTo(new TokenRange(7, 8));
  }

  @Test
  void packedPromptsFollowOneAnotherAndDoNotSeeEachOther() {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(SELF, JOINT, Prompt.plain(new int[] {7})), Layout.packed());

    assertThat(mask.sequences()).isEqualTo(3);
    assertThat(mask.rows()).isEqualTo(14);
    assertThat(mask.rowIds()).containsExactly(1, 5, 6, 20, 21, 1, 5, 6, 20, 21, 30, 31, 32, 7);
    assertThat(mask.sequenceBegin(1)).isEqualTo(5);
    assertThat(mask.sequenceEnd(1)).isEqualTo(13);
    assertThat(mask.tokens(1)).isEqualTo(new TokenRange(5, 13));
    assertThat(mask.pooled(0, Mode.SELF)).isEqualTo(new TokenRange(4, 5));
    assertThat(mask.pooled(0, Mode.NEXT).isEmpty()).isTrue();
    assertThat(mask.pooled(1, Mode.SELF)).isEqualTo(new TokenRange(9, 10));
    assertThat(mask.pooled(1, Mode.NEXT)).isEqualTo(new TokenRange(12, 13));
    assertThat(mask.pooled(2, Mode.SELF).isEmpty()).isTrue();
    boolean[][] dense = mask.dense();
    assertThat(dense[5])
        .containsExactly(
            false, false, false, false, false, true, false, false, false, false, false, false,
            false, false);
    assertThat(dense[13][13]).isTrue();
    assertThat(dense[13][12]).isFalse();
  }

  @Test
  void leftPaddingStandsBeforeAndSeesNothing() {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(SELF, Prompt.plain(new int[] {7})), Layout.leftPadded(3).withPadId(9));

    assertThat(mask.sequenceEnd(0)).isEqualTo(6);
    assertThat(mask.rowIds()).containsExactly(9, 1, 5, 6, 20, 21, 9, 9, 9, 9, 9, 7);
    assertThat(mask.positions()).containsExactly(0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0);
    assertThat(mask.tokens(0)).isEqualTo(new TokenRange(1, 6));
    assertThat(mask.pooled(0, Mode.SELF)).isEqualTo(new TokenRange(5, 6));
    assertThat(mask.visibility(1))
        .containsExactly("000000", "000000", "000000", "000000", "000000", "000001");
  }

  @Test
  void rightPaddingStandsBehindAndSeesNothing() {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(SELF, Prompt.plain(new int[] {7, 8})), Layout.rightPadded(1));

    assertThat(mask.rowIds()).containsExactly(1, 5, 6, 20, 21, 7, 8, 0, 0, 0);
    assertThat(mask.tokens(1)).isEqualTo(new TokenRange(5, 7));
    assertThat(mask.visibility(1)).containsExactly("10000", "11000", "00000", "00000", "00000");
  }

  @Test
  void positionsMayCountPaddingAsTheReferenceDoes() {
    AttentionMask left =
        AttentionMaskFactory.create(
            List.of(JOINT, SELF), Layout.leftPadded(1).withPositionsCountingPadding());
    AttentionMask right =
        AttentionMaskFactory.create(
            List.of(JOINT, SELF), Layout.rightPadded(1).withPositionsCountingPadding());

    assertThat(left.positions()).containsExactly(0, 1, 2, 3, 4, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6, 7);
    assertThat(right.positions()).containsExactly(0, 1, 2, 3, 4, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6, 7);
  }

  @Test
  void additiveFormIsZeroOrNegativeInfinity() {
    AttentionMask mask =
        AttentionMaskFactory.create(List.of(Prompt.plain(new int[] {7, 8})), Layout.leftPadded(3));
    float hidden = Float.NEGATIVE_INFINITY;

    float[][] expected = {
      {hidden, hidden, hidden}, {hidden, 0, hidden}, {hidden, 0, 0},
    };
    assertThat(mask.additive(0)).isDeepEqualTo(expected);
    assertThat(mask.additive()).isDeepEqualTo(expected);
  }

  @Test
  void spansOfSomeRowsEndAtTheLastKeyThatIsSeen() {
    AttentionMask mask = AttentionMaskFactory.create(List.of(SELF, JOINT), Layout.packed());

    assertThat(mask.spans(new int[] {4, 9, 12}))
        .containsExactly(
            new Span(0, 1, List.of(new KeyRange(0, 5)), true),
            new Span(1, 2, List.of(new KeyRange(5, 10)), true),
            new Span(2, 3, List.of(new KeyRange(5, 8), new KeyRange(10, 13)), true));
    assertThat(mask.spans(new int[] {6}))
        .containsExactly(new Span(0, 1, List.of(new KeyRange(5, 7)), true));
  }

  @Test
  void spansOfSomeRowsKeepRunsTogetherAndCutWithinTheSecondRange() {
    AttentionMask mask = AttentionMaskFactory.create(List.of(JOINT), Layout.packed());

    assertThat(mask.spans(new int[] {1, 3, 4, 5, 6}))
        .containsExactly(
            new Span(0, 1, List.of(new KeyRange(0, 2)), true),
            new Span(1, 3, List.of(new KeyRange(0, 5)), true),
            new Span(3, 5, List.of(new KeyRange(0, 3), new KeyRange(5, 7)), true));
    assertThat(mask.spans(new int[0])).isEmpty();
  }

  @Test
  void wrongRowsAreRefused() {
    AttentionMask mask = AttentionMaskFactory.create(List.of(SELF), Layout.packed());

    for (int[] rows : List.of(new int[] {-1}, new int[] {5}, new int[] {2, 2}, new int[] {3, 1})) {
      assertThatThrownBy(() -> mask.spans(rows))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("rows must ascend within [0, 5)");
    }
    assertThatThrownBy(() -> mask.dense(1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("there are 1 sequences");
    assertThatThrownBy(() -> mask.pooled(-1, Mode.SELF))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void nonCausalSpansShowAllKeys() {
    Span span = new Span(2, 5, List.of(new KeyRange(0, 1)), false);

    assertThat(span.visibleKeys(2)).isEqualTo(1);
    assertThat(span.keysOf(2)).isEqualTo(span.keys());
    assertThat(span.queryCount()).isEqualTo(3);
    assertThat(span.keyCount()).isEqualTo(1);
    assertThatThrownBy(() -> span.visibleKeys(5)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void impossibleSpansAndRangesAreRefused() {
    KeyRange two = new KeyRange(0, 2);
    assertThatThrownBy(() -> new KeyRange(2, 2)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new KeyRange(-1, 2)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Span(1, 1, List.of(two), true))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Span(0, 1, List.of(), true))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new Span(0, 3, List.of(two), true))
        .hasMessageContaining("3 queries needs as many keys");
    assertThatThrownBy(() -> new Span(0, 1, List.of(two, new KeyRange(1, 3)), true))
        .hasMessageContaining("must ascend");
  }

  @Test
  void emptyBatchesAndWrongLayoutsAreRefused() {
    assertThatThrownBy(() -> AttentionMaskFactory.create(List.of(), Layout.packed()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("at least one prompt");
    assertThatThrownBy(() -> Layout.leftPadded(0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("multipleOf");
    assertThatThrownBy(() -> Layout.packed().withPadId(-1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("padId");
    assertThatThrownBy(
            () ->
                AttentionMaskFactory.create(
                    List.of(SELF, SELF), Layout.leftPadded(Integer.MAX_VALUE)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("2^31");
  }

  @Test
  void arraysAreCopies() {
    AttentionMask mask = AttentionMaskFactory.create(List.of(SELF), Layout.packed());

    mask.rowIds()[0] = 99;
    mask.positions()[0] = 99;

    assertThat(mask.rowIds()[0]).isEqualTo(1);
    assertThat(mask.positions()[0]).isZero();
    assertThat(mask.toString()).contains("1 sequences").contains("5 rows");
  }
}
