package io.llara.examples.golden;

import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import io.llara.train.data.Example;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/**
 * Our examples in the shape of the reference's batches, a row an example, padded on the left.
 *
 * @param inputIds token ids, 0 in padding
 * @param attentionMask 1 for tokens, 0 for padding
 * @param labels the ids of the text, -100 elsewhere
 */
record PaddedExamples(List<int[]> inputIds, List<int[]> attentionMask, List<int[]> labels) {

  /**
   * Pads prompts.
   *
   * @param multipleOf rows are as wide as the longest, rounded up to a multiple of this
   */
  static PaddedExamples of(List<Prompt> prompts, int multipleOf) {
    AttentionMask batch = AttentionMaskFactory.create(prompts, Layout.leftPadded(multipleOf));
    int width = batch.queryRows() / prompts.size();
    int[] ids = batch.rowIds();
    int[] ones = new int[ids.length];
    int[] labels = new int[ids.length];
    Arrays.fill(labels, CollatedBatch.IGNORED);
    for (int i = 0; i < prompts.size(); i++) {
      TokenRange tokens = batch.tokens(i);
      Arrays.fill(ones, tokens.begin(), tokens.end(), 1);
      int[] text = prompts.get(i).textIds();
      System.arraycopy(
          text, 0, labels, tokens.begin() + prompts.get(i).prefixLength(), text.length);
    }
    return new PaddedExamples(rows(ids, width), rows(ones, width), rows(labels, width));
  }

  private static List<int[]> rows(int[] flat, int width) {
    List<int[]> rows = new ArrayList<>();
    for (int begin = 0; begin < flat.length; begin += width) {
      rows.add(Arrays.copyOfRange(flat, begin, begin + width));
    }
    return rows;
  }

  /** Returns targets of each example, filled up on the left with 0 to the longest. */
  static List<int[]> targets(List<Example> examples, Function<Example, int[]> targets) {
    List<int[]> rows = examples.stream().map(targets).toList();
    int width = rows.stream().mapToInt(row -> row.length).max().orElse(0);
    return rows.stream()
        .map(
            row -> {
              int[] padded = new int[width];
              System.arraycopy(row, 0, padded, width - row.length, row.length);
              return padded;
            })
        .toList();
  }
}
