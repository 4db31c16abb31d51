package io.llara.attention;

import com.google.common.collect.ImmutableList;
import com.google.common.math.LongMath;
import io.llara.Mode;
import io.llara.attention.AttentionMask.KeyRange;
import io.llara.attention.AttentionMask.Sequence;
import io.llara.attention.AttentionMask.Span;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import java.math.RoundingMode;
import java.util.Arrays;
import java.util.List;

/**
 * Lays out a batch of prompts and says who may see whom.
 *
 * <p>Every prompt is causal ({@link AttentionMask#bidirectional} lifts that) and sees only itself.
 * In a joint prompt the NEXT suffix sees prefix, text and itself, never the SELF suffix (Llama2Vec;
 * LLaRA, arXiv 2312.15503, section 3.2). Padding sees nothing and is seen by nothing.
 */
public final class AttentionMaskFactory {
  private AttentionMaskFactory() {}

  /**
   * Returns the mask of a batch.
   *
   * @param prompts the prompts, in row order; of any lengths and kinds
   * @param layout how they lie in the rows
   * @throws IllegalArgumentException if there are no prompts, or more rows than an {@code int}
   *     counts
   */
  public static AttentionMask create(List<Prompt> prompts, Layout layout) {
    if (prompts.isEmpty()) {
      throw new IllegalArgumentException("an attention mask needs at least one prompt");
    }
    int[] starts = starts(prompts, layout);
    int rows = starts[prompts.size()];
    int[] ids = new int[rows];
    int[] positions = new int[rows];
    Arrays.fill(ids, layout.padId());
    ImmutableList.Builder<Span> spans = ImmutableList.builder();
    ImmutableList.Builder<Sequence> sequences = ImmutableList.builder();
    for (int i = 0; i < prompts.size(); i++) {
      Prompt prompt = prompts.get(i);
      TokenRange all = new TokenRange(starts[i], starts[i + 1]);
      int lead = layout.padding() == Layout.Padding.LEFT ? all.length() - prompt.length() : 0;
      int begin = all.begin() + lead;
      prompt.copyIdsTo(ids, begin);
      int first = 0;
      if (layout.positionsCountPadding()) {
        first = lead;
        count(positions, all, 0);
      }
      TokenRange tokens = new TokenRange(begin, begin + prompt.length());
      if (layout.selfVisible()) {
        count(positions, tokens, first);
      } else {
        prompt.copyPositionsTo(positions, begin, first);
      }
      addSpans(prompt, begin, layout.selfVisible(), spans);
      sequences.add(
          new Sequence(
              all,
              tokens,
              shift(prompt.pooled(Mode.SELF), begin),
              shift(prompt.pooled(Mode.NEXT), begin)));
    }
    return new AttentionMask(spans.build(), sequences.build(), ids, positions);
  }

  /** Numbers rows from {@code first} on. */
  private static void count(int[] positions, TokenRange rows, int first) {
    for (int i = 0; i < rows.length(); i++) {
      positions[rows.begin() + i] = first + i;
    }
  }

  private static void addSpans(
      Prompt prompt, int begin, boolean selfVisible, ImmutableList.Builder<Span> spans) {
    int end = begin + prompt.length();
    if (!prompt.isJoint() || selfVisible) {
      spans.add(new Span(begin, end, ImmutableList.of(new KeyRange(begin, end)), true));
      return;
    }
    int next = begin + prompt.nextBegin();
    KeyRange shared = new KeyRange(begin, begin + prompt.textEnd());
    spans.add(new Span(begin, next, ImmutableList.of(new KeyRange(begin, next)), true));
    spans.add(new Span(next, end, ImmutableList.of(shared, new KeyRange(next, end)), true));
  }

  /** The first row of each prompt's part of the batch, padding included, and the row count. */
  private static int[] starts(List<Prompt> prompts, Layout layout) {
    boolean packed = layout.padding() == Layout.Padding.NONE;
    long longest = prompts.stream().mapToLong(Prompt::length).max().orElse(0);
    long width =
        LongMath.divide(longest, layout.multipleOf(), RoundingMode.CEILING) * layout.multipleOf();
    int[] starts = new int[prompts.size() + 1];
    long row = 0;
    for (int i = 0; i < prompts.size(); i++) {
      row += packed ? prompts.get(i).length() : width;
      if (row > Integer.MAX_VALUE) {
        throw new IllegalArgumentException(
            "a batch of " + prompts.size() + " prompts has more than 2^31 - 1 rows");
      }
      starts[i + 1] = (int) row;
    }
    return starts;
  }

  private static TokenRange shift(TokenRange range, int by) {
    return new TokenRange(range.begin() + by, range.end() + by);
  }
}
