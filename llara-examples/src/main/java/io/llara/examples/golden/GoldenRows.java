package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A batch as the reference ran it: rows of equal width with padding, {@code [batch, width]}. Our
 * own batches have none, so that only the columns of real tokens are compared.
 */
final class GoldenRows {
  private final List<int[]> ids;

  /** The columns of real tokens of each row. */
  private final List<int[]> columns;

  private GoldenRows(List<int[]> ids, List<int[]> columns) {
    this.ids = ids;
    this.columns = columns;
  }

  /** Reads {@code input_ids} and {@code attention_mask} of a case. */
  static GoldenRows read(GoldenJson json) {
    List<int[]> ids = json.rows("input_ids");
    List<int[]> masks = json.rows("attention_mask");
    boolean matrix = !ids.isEmpty() && ids.size() == masks.size();
    for (int row = 0; matrix && row < ids.size(); row++) {
      matrix =
          ids.get(row).length == ids.get(0).length
              && masks.get(row).length == ids.get(0).length
              && Arrays.stream(masks.get(row)).anyMatch(value -> value == 1);
    }
    if (!matrix) {
      throw new LlaraException(
          json.where()
              + ": input_ids and attention_mask must be matrices of one shape, with a real token in"
              + " each row");
    }
    return new GoldenRows(ids, masks.stream().map(GoldenRows::ones).toList());
  }

  private static int[] ones(int[] mask) {
    return IntStream.range(0, mask.length).filter(column -> mask[column] == 1).toArray();
  }

  int batch() {
    return ids.size();
  }

  int width() {
    return ids.get(0).length;
  }

  /** Returns the first column of a real token in a row. */
  int firstColumn(int row) {
    return columns.get(row)[0];
  }

  /** Returns the real tokens of a row. */
  int[] tokens(int row) {
    return gather(ids.get(row), row);
  }

  /** Returns what {@code values}, one a column, holds in the columns of real tokens of a row. */
  int[] gather(int[] values, int row) {
    if (values.length != width()) {
      throw new LlaraException(
          "a row of " + values.length + " values stands beside input_ids of width " + width());
    }
    return Arrays.stream(columns.get(row)).map(column -> values[column]).toArray();
  }

  /** Returns whether our prompts have just these tokens. */
  boolean sameTokens(List<Prompt> prompts) {
    return prompts.size() == batch()
        && IntStream.range(0, batch())
            .allMatch(row -> Arrays.equals(prompts.get(row).ids(), tokens(row)));
  }

  /** Returns the layout of the reference's batch: padding before or after each prompt. */
  Layout layout(int multipleOf) {
    boolean left = columns.stream().allMatch(row -> row[row.length - 1] == width() - 1);
    return left ? Layout.leftPadded(multipleOf) : Layout.rightPadded(multipleOf);
  }

  /**
   * Returns the rows of real tokens of a tensor {@code [batch, width, size]}, one after another.
   */
  double[] realRows(double[] tensor, int size) {
    double[] rows = new double[columns.stream().mapToInt(row -> row.length).sum() * size];
    int to = 0;
    for (int row = 0; row < batch(); row++) {
      for (int column : columns.get(row)) {
        System.arraycopy(tensor, (row * width() + column) * size, rows, to, size);
        to += size;
      }
    }
    return rows;
  }

  /**
   * Returns, for the real tokens of a row, which of them each may attend to, as the strings say.
   */
  String[] realVisibility(List<String> lines, int row) {
    return Arrays.stream(columns.get(row))
        .mapToObj(
            query ->
                Arrays.stream(columns.get(row))
                    .mapToObj(key -> lines.get(query).substring(key, key + 1))
                    .reduce("", String::concat))
        .toArray(String[]::new);
  }
}
