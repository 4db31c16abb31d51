package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Sequences as the reference runs them: rows of equal width with padding, {@code [rows, width]}.
 * Our own batches have none, so that hidden states are compared in the columns of real tokens.
 *
 * @param ids token ids, 0 in padding
 * @param mask 1 for real tokens, 0 for padding
 */
record PaddedRows(List<int[]> ids, List<int[]> mask) {

  /** Reads {@code input_ids} and {@code attention_mask} of a case. */
  static PaddedRows read(GoldenJson json) {
    List<int[]> ids = json.rows("input_ids");
    List<int[]> mask = json.rows("attention_mask");
    boolean matrix = !ids.isEmpty() && ids.size() == mask.size();
    for (int row = 0; matrix && row < ids.size(); row++) {
      matrix =
          ids.get(row).length == ids.get(0).length
              && mask.get(row).length == ids.get(0).length
              && Arrays.stream(mask.get(row)).anyMatch(value -> value == 1);
    }
    if (!matrix) {
      throw new LlaraException(
          json.where()
              + ": input_ids and attention_mask must be matrices of one shape, with a real token in"
              + " each row");
    }
    return new PaddedRows(ids, mask);
  }

  /**
   * Pads prompts on the left.
   *
   * @param multipleOf rows are as wide as the longest, rounded up to a multiple of this
   */
  static PaddedRows of(List<Prompt> prompts, int multipleOf) {
    AttentionMask batch = AttentionMaskFactory.create(prompts, Layout.leftPadded(multipleOf));
    int width = batch.rows() / prompts.size();
    int[] ones = new int[batch.rowIds().length];
    for (int i = 0; i < prompts.size(); i++) {
      TokenRange tokens = batch.tokens(i);
      Arrays.fill(ones, tokens.begin(), tokens.end(), 1);
    }
    return new PaddedRows(rows(batch.rowIds(), width), rows(ones, width));
  }

  private static List<int[]> rows(int[] flat, int width) {
    List<int[]> rows = new ArrayList<>();
    for (int begin = 0; begin < flat.length; begin += width) {
      rows.add(Arrays.copyOfRange(flat, begin, begin + width));
    }
    return rows;
  }

  int count() {
    return ids.size();
  }

  int width() {
    return ids.get(0).length;
  }

  /** Returns the number of real tokens. */
  int realTokens() {
    return IntStream.range(0, count()).map(row -> columns(row).length).sum();
  }

  /** Returns the columns of real tokens in a row. */
  private int[] columns(int row) {
    return IntStream.range(0, width()).filter(column -> mask.get(row)[column] == 1).toArray();
  }

  /** Returns the first column of a real token in a row. */
  int firstColumn(int row) {
    return columns(row)[0];
  }

  /** Returns the real tokens of a row. */
  int[] tokens(int row) {
    return gather(ids.get(row), row);
  }

  /** Returns what {@code values}, one a column, holds in the columns of real tokens of a row. */
  int[] gather(int[] values, int row) {
    if (values.length != width()) {
      throw new LlaraException(
          "a row of %d values is beside input_ids of width %d".formatted(values.length, width()));
    }
    return Arrays.stream(columns(row)).map(column -> values[column]).toArray();
  }

  /** Returns whether prompts have just these tokens. */
  boolean sameTokens(List<Prompt> prompts) {
    return prompts.size() == count()
        && IntStream.range(0, count())
            .allMatch(row -> Arrays.equals(prompts.get(row).ids(), tokens(row)));
  }

  /** Compares ids and padding with ours; returns whether they are equal. */
  boolean compare(String prefix, PaddedRows ours, Comparison comparison) {
    return comparison.equal(prefix + "input_ids", equal(ids, ours.ids))
        & comparison.equal(prefix + "attention_mask", equal(mask, ours.mask));
  }

  /** Returns whether ids and padding are ours. */
  boolean same(PaddedRows ours) {
    return equal(ids, ours.ids) && equal(mask, ours.mask);
  }

  static boolean equal(List<int[]> expected, List<int[]> actual) {
    return Arrays.deepEquals(expected.toArray(), actual.toArray());
  }

  /** Returns the layout of the reference's batch: padding before or after each prompt. */
  Layout layout(int multipleOf) {
    boolean left = mask.stream().allMatch(row -> row[row.length - 1] == 1);
    return left ? Layout.leftPadded(multipleOf) : Layout.rightPadded(multipleOf);
  }

  /** Returns the real tokens' rows of a tensor {@code [rows, width, size]}, one after another. */
  double[] realRows(double[] tensor, int size) {
    return IntStream.range(0, count())
        .flatMap(row -> Arrays.stream(columns(row)).map(column -> row * width() + column))
        .flatMap(token -> IntStream.range(token * size, (token + 1) * size))
        .mapToDouble(i -> tensor[i])
        .toArray();
  }

  /** Returns, for the real tokens of a row, which of them each may attend to, as strings say. */
  String[] realVisibility(String[] lines, int row) {
    return Arrays.stream(columns(row))
        .mapToObj(
            query ->
                Arrays.stream(columns(row))
                    .mapToObj(key -> lines[query].substring(key, key + 1))
                    .reduce("", String::concat))
        .toArray(String[]::new);
  }
}
