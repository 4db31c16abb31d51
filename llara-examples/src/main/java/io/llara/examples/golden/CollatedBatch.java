package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.prompt.PromptBuilder;
import io.llara.train.data.Collator;
import io.llara.train.data.Example;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A batch as the reference's collator made it: joint prompts padded on the left, labels that mark
 * the text, and what the two embeddings must predict.
 */
final class CollatedBatch {
  /** The label of a column whose token nothing predicts. */
  static final int IGNORED = -100;

  /** What the reference fills up with, in prompts and in targets. */
  private static final int PAD = 0;

  /** Ids without a bound on their number. */
  private static final int UNCUT = Integer.MAX_VALUE;

  private final GoldenJson json;
  private final GoldenRows rows;
  private final List<int[]> labels;

  private CollatedBatch(GoldenJson json, GoldenRows rows, List<int[]> labels) {
    this.json = json;
    this.rows = rows;
    this.labels = labels;
  }

  static CollatedBatch read(GoldenJson json) {
    GoldenRows rows = GoldenRows.read(json);
    List<int[]> labels = json.rows("labels");
    if (labels.size() != rows.batch()) {
      throw new LlaraException(
          "%s: %d rows of labels for %d rows of input_ids"
              .formatted(json.where(), labels.size(), rows.batch()));
    }
    return new CollatedBatch(json, rows, labels);
  }

  GoldenRows rows() {
    return rows;
  }

  /** The columns of a row's real tokens that are labelled, from the first to the last. */
  private record Text(int[] tokens, int begin, int end) {
    int[] ids() {
      return Arrays.copyOfRange(tokens, begin, end);
    }

    int[] before() {
      return Arrays.copyOf(tokens, begin);
    }

    int[] behind() {
      return Arrays.copyOfRange(tokens, end, tokens.length);
    }
  }

  private Text text(int row) {
    int[] ofRow = rows.gather(labels.get(row), row);
    int[] labelled =
        IntStream.range(0, ofRow.length).filter(column -> ofRow[column] != IGNORED).toArray();
    return labelled.length == 0
        ? new Text(rows.tokens(row), 0, 0)
        : new Text(rows.tokens(row), labelled[0], labelled[labelled.length - 1] + 1);
  }

  /**
   * Returns what makes prompts as these: with the prefix and the suffixes that stand around the
   * labelled text in the first row where suffixes of that length do.
   */
  Optional<PromptBuilder> prompts(Suffixes suffixes) {
    return IntStream.range(0, rows.batch())
        .mapToObj(this::text)
        .filter(text -> text.end() > 0 && text.behind().length == suffixes.total())
        .findFirst()
        .map(
            text ->
                PromptBuilder.ofIds(
                    text.before(),
                    Arrays.copyOf(text.behind(), suffixes.self()),
                    Arrays.copyOfRange(text.behind(), suffixes.self(), suffixes.total()),
                    suffixes.pooled()));
  }

  /** Returns what to say where there is no such row. */
  static String unlike(Suffixes suffixes) {
    return "no row has %d + %d tokens behind its labelled text"
        .formatted(suffixes.self(), suffixes.next());
  }

  /** Returns the examples that this batch was made of; rows without a label are left out. */
  List<Example> examples(PromptBuilder prompts) {
    List<int[]> self = json.rows("output_summarize_ids");
    List<int[]> next = json.rows("output_predict_ids");
    if (self.size() != rows.batch() || next.size() != rows.batch()) {
      throw new LlaraException(
          "%s: %d rows of input_ids, but %d of output_summarize_ids and %d of output_predict_ids"
              .formatted(json.where(), rows.batch(), self.size(), next.size()));
    }
    return IntStream.range(0, rows.batch())
        .filter(row -> text(row).end() > 0)
        .mapToObj(
            row ->
                // The targets begin with BOS as they stand here.
                Collator.fromIds(
                    prompts,
                    text(row).ids(),
                    unpadded(self.get(row)),
                    unpadded(next.get(row)),
                    new int[0],
                    UNCUT))
        .toList();
  }

  private static int[] unpadded(int[] ids) {
    int begin = 0;
    while (begin < ids.length && ids[begin] == PAD) {
      begin++;
    }
    return Arrays.copyOfRange(ids, begin, ids.length);
  }

  /** Returns whether a key of the batch holds just these values, row after row. */
  boolean holds(String key, List<int[]> values) {
    return Arrays.deepEquals(json.rows(key).toArray(), values.toArray());
  }
}
