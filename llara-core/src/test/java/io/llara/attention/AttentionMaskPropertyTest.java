package io.llara.attention;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.Mode;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Span;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.TokenRange;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** Compares masks with visibility decided cell by cell from each prompt's own segments. */
class AttentionMaskPropertyTest {
  @Property
  void denseFormIsTheDefinition(
      @ForAll("batches") List<Prompt> prompts, @ForAll("layouts") Layout layout) {
    AttentionMask mask = AttentionMaskFactory.create(prompts, layout);

    boolean[][] expected = definition(prompts, layout);
    assertThat(mask.dense()).isDeepEqualTo(expected);
    assertThat(fromSpans(mask.spans(), mask.rows(), mask.rows())).isDeepEqualTo(expected);
    for (int i = 0; i < prompts.size(); i++) {
      int begin = mask.sequenceBegin(i);
      boolean[][] own = mask.dense(i);
      assertThat(own).hasDimensions(mask.sequenceEnd(i) - begin, mask.sequenceEnd(i) - begin);
      for (int row = 0; row < own.length; row++) {
        for (int column = 0; column < own.length; column++) {
          assertThat(own[row][column]).isEqualTo(expected[begin + row][begin + column]);
        }
      }
    }
  }

  @Property
  void someRowsSeeWhatTheySeeAmongAll(
      @ForAll("batches") List<Prompt> prompts,
      @ForAll("layouts") Layout layout,
      @ForAll long choice) {
    AttentionMask mask = AttentionMaskFactory.create(prompts, layout);
    int[] rows = choose(mask.rows(), choice);

    boolean[][] visible = definition(prompts, layout);
    boolean[][] expected =
        Arrays.stream(rows).mapToObj(row -> visible[row]).toArray(boolean[][]::new);
    assertThat(fromSpans(mask.spans(rows), rows.length, mask.rows())).isDeepEqualTo(expected);
  }

  @Property
  void tokensAlwaysSeeThemselvesAndPaddingNothing(
      @ForAll("batches") List<Prompt> prompts, @ForAll("layouts") Layout layout) {
    AttentionMask mask = AttentionMaskFactory.create(prompts, layout);
    boolean[][] dense = mask.dense();
    boolean[] real = new boolean[mask.rows()];
    for (int i = 0; i < prompts.size(); i++) {
      TokenRange tokens = mask.tokens(i);
      assertThat(tokens.length()).isEqualTo(prompts.get(i).length());
      for (int row = tokens.begin(); row < tokens.end(); row++) {
        real[row] = true;
        int column = row - tokens.begin();
        assertThat(mask.rowIds()[row]).isEqualTo(prompts.get(i).ids()[column]);
      }
      for (Mode mode : Mode.values()) {
        TokenRange columns = prompts.get(i).pooled(mode);
        TokenRange rows = mask.pooled(i, mode);
        assertThat(rows.length()).isEqualTo(columns.length());
        assertThat(rows.begin() - tokens.begin()).isEqualTo(columns.begin());
      }
    }
    for (int row = 0; row < real.length; row++) {
      assertThat(dense[row][row]).isEqualTo(real[row]);
      for (int column = 0; column < real.length; column++) {
        if (!real[row] || !real[column]) {
          assertThat(dense[row][column]).isFalse();
        }
      }
      if (!real[row]) {
        assertThat(mask.rowIds()[row]).isEqualTo(layout.padId());
      }
    }
  }

  /** What a kernel would make of the spans, by their definition alone. */
  private static boolean[][] fromSpans(List<Span> spans, int queries, int keyRows) {
    boolean[][] matrix = new boolean[queries][keyRows];
    int covered = 0;
    for (Span span : spans) {
      assertThat(span.queryBegin()).isGreaterThanOrEqualTo(covered);
      covered = span.queryEnd();
      List<Integer> keys = new ArrayList<>();
      for (KeyRange range : span.keys()) {
        for (int key = range.begin(); key < range.end(); key++) {
          keys.add(key);
        }
      }
      for (int row = span.queryBegin(); row < span.queryEnd(); row++) {
        int hidden = span.causal() ? span.queryEnd() - 1 - row : 0;
        for (int k = 0; k < keys.size() - hidden; k++) {
          assertThat(matrix[row][keys.get(k)]).isFalse();
          matrix[row][keys.get(k)] = true;
        }
      }
    }
    return matrix;
  }

  private static boolean[][] definition(List<Prompt> prompts, Layout layout) {
    int longest = prompts.stream().mapToInt(Prompt::length).max().orElseThrow();
    int width = longest;
    while (width % layout.multipleOf() != 0) {
      width++;
    }
    boolean packed = layout.padding() == Layout.Padding.NONE;
    int rows = packed ? prompts.stream().mapToInt(Prompt::length).sum() : width * prompts.size();
    boolean[][] visible = new boolean[rows][rows];
    int start = 0;
    for (Prompt prompt : prompts) {
      int lead = layout.padding() == Layout.Padding.LEFT ? width - prompt.length() : 0;
      for (int i = 0; i < prompt.length(); i++) {
        for (int j = 0; j <= i; j++) {
          boolean inNext = i >= prompt.nextBegin();
          boolean ofSelf = j >= prompt.textEnd() && j < prompt.nextBegin();
          visible[start + lead + i][start + lead + j] = !(inNext && ofSelf);
        }
      }
      start += packed ? prompt.length() : width;
    }
    return visible;
  }

  /** About two thirds of the rows, ascending. */
  private static int[] choose(int rows, long choice) {
    Random random = new Random(choice);
    return IntStream.range(0, rows).filter(row -> random.nextInt(3) > 0).toArray();
  }

  @Provide
  Arbitrary<List<Prompt>> batches() {
    Arbitrary<Integer> length = Arbitraries.integers().between(1, 6);
    return Combinators.combine(
            Arbitraries.integers().between(0, 3),
            length,
            length,
            length,
            Arbitraries.integers().between(0, 3))
        .as(
            (prefix, text, self, next, kind) -> {
              int pooled = 1 + (text % Math.min(self, next));
              PromptBuilder builder =
                  PromptBuilder.ofIds(ids(prefix), ids(self), ids(next), pooled);
              return switch (kind) {
                case 0 -> builder.fromIds(ids(text), Mode.SELF);
                case 1 -> builder.fromIds(ids(text), Mode.NEXT);
                case 2 -> Prompt.plain(ids(text));
                default -> builder.jointFromIds(ids(text));
              };
            })
        .list()
        .ofMinSize(1)
        .ofMaxSize(4);
  }

  @Provide
  Arbitrary<Layout> layouts() {
    return Combinators.combine(
            Arbitraries.of(Layout.Padding.values()),
            Arbitraries.integers().between(1, 8),
            Arbitraries.of(true, false))
        .as((padding, multipleOf, counting) -> new Layout(padding, multipleOf, 3, counting, false));
  }

  private static int[] ids(int count) {
    int[] ids = new int[count];
    for (int i = 0; i < count; i++) {
      ids[i] = 100 + i;
    }
    return ids;
  }
}
