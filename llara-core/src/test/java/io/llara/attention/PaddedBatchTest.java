package io.llara.attention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.TokenRange;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class PaddedBatchTest {
  private static final PromptBuilder BUILDER =
      PromptBuilder.ofIds(new int[] {1}, new int[] {20, 21}, new int[] {30, 31, 32}, 1);
  private static final List<Prompt> PROMPTS =
      List.of(
          BUILDER.fromIds(new int[] {5}, Mode.SELF),
          BUILDER.jointFromIds(new int[] {5, 6}),
          Prompt.plain(new int[] {7}));

  @Test
  void rowsArePaddedToOneWidth() {
    PaddedBatch batch =
        PaddedBatch.of(AttentionMaskFactory.create(PROMPTS, Layout.rightPadded(3).withPadId(9)));

    assertThat(batch.sequences()).isEqualTo(3);
    assertThat(batch.width()).isEqualTo(9);
    assertThat(batch.ids())
        .containsExactly(
            1, 5, 20, 21, 9, 9, 9, 9, 9, 1, 5, 6, 20, 21, 30, 31, 32, 9, 7, 9, 9, 9, 9, 9, 9, 9, 9);
    assertThat(batch.tokens())
        .containsExactly(
            1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    assertThat(batch.positions()).startsWith(0, 1, 2, 3).contains(new long[] {4, 3, 4, 5});
    assertThat(batch.pooled(1, Mode.SELF)).isEqualTo(new TokenRange(4, 5));
    assertThat(batch.pooled(1, Mode.NEXT)).isEqualTo(new TokenRange(7, 8));
    assertThat(batch.pooled(2, Mode.SELF).isEmpty()).isTrue();
  }

  @ParameterizedTest
  @EnumSource(
      value = Layout.Padding.class,
      names = {"LEFT", "RIGHT"})
  void additiveIsTheMaskOfEachPrompt(Layout.Padding padding) {
    Layout layout = new Layout(padding, 4, 0, false, false);
    AttentionMask mask = AttentionMaskFactory.create(PROMPTS, layout);
    PaddedBatch batch = PaddedBatch.of(mask);
    float[] additive = batch.additive(-65504);

    int width = batch.width();
    assertThat(additive).hasSize(3 * width * width);
    for (int sequence = 0; sequence < 3; sequence++) {
      boolean[][] visible = mask.dense(sequence);
      for (int query = 0; query < width; query++) {
        for (int key = 0; key < width; key++) {
          assertThat(additive[(sequence * width + query) * width + key])
              .isEqualTo(visible[query][key] ? 0f : -65504f);
        }
      }
    }
  }

  @Test
  void aLeastValueKeepsPaddingFreeOfNaN() {
    AttentionMask mask =
        AttentionMaskFactory.create(
            List.of(Prompt.ofLengths(2, 0, 0), Prompt.ofLengths(4, 2, 2)), Layout.leftPadded(1));
    PaddedBatch batch = PaddedBatch.of(mask);

    assertThat(softmaxOfFirstRow(batch.additive(-Float.MAX_VALUE))).isEqualTo(1 / 8.0);
    assertThat(softmaxOfFirstRow(batch.additive(Float.NEGATIVE_INFINITY))).isNaN();
  }

  /** The weight of the first key in a row of padding, as a kernel computes it. */
  private static double softmaxOfFirstRow(float[] additive) {
    float max = additive[0];
    double sum = 0;
    for (int key = 0; key < 8; key++) {
      max = Math.max(max, additive[key]);
    }
    for (int key = 0; key < 8; key++) {
      sum += Math.exp(additive[key] - max);
    }
    return Math.exp(additive[0] - max) / sum;
  }

  @Test
  void lengthsAloneGiveTheMaskOfTheIds() {
    AttentionMask ofIds = AttentionMaskFactory.create(PROMPTS, Layout.packed());
    AttentionMask ofLengths =
        AttentionMaskFactory.create(
            List.of(
                Prompt.ofLengths(2, 2, 0), Prompt.ofLengths(3, 2, 3), Prompt.ofLengths(1, 0, 0)),
            Layout.packed());

    assertThat(ofLengths.spans()).isEqualTo(ofIds.spans());
    assertThat(ofLengths.positions()).isEqualTo(ofIds.positions());
  }

  @Test
  void refusesWhatHasNoWidthAndWhatHidesNothing() {
    AttentionMask packed = AttentionMaskFactory.create(PROMPTS, Layout.packed());
    assertThatIllegalArgumentException()
        .isThrownBy(() -> PaddedBatch.of(packed))
        .withMessageContaining("prompt 1 takes 8 rows and prompt 0 4");
    PaddedBatch batch = PaddedBatch.of(AttentionMaskFactory.create(PROMPTS, Layout.rightPadded(1)));
    for (float visible : new float[] {0, 1, Float.NaN}) {
      assertThatIllegalArgumentException().isThrownBy(() -> batch.additive(visible));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"0 0 0", "1 -1 0", "1 0 -1"})
  void refusesLengthsThatNoPromptHas(String lengths) {
    int[] each = java.util.Arrays.stream(lengths.split(" ")).mapToInt(Integer::parseInt).toArray();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Prompt.ofLengths(each[0], each[1], each[2]));
  }
}
