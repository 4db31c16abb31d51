package io.llara.examples.golden;

import com.google.common.primitives.Ints;
import io.llara.LlaraException;
import io.llara.prompt.Prompt;
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
 *
 * @param json the batch
 * @param rows the prompts
 * @param labels the ids of the text, {@link #IGNORED} elsewhere, {@code [rows, width]}
 */
record CollatedBatch(GoldenJson json, PaddedRows rows, List<int[]> labels) {
  /** The label of a column whose token nothing predicts. */
  private static final int IGNORED = -100;

  /** What the reference pads targets with. */
  private static final int PAD = 0;

  static CollatedBatch read(GoldenJson json) {
    PaddedRows rows = PaddedRows.read(json);
    List<int[]> labels = json.rows("labels");
    if (labels.size() != rows.count()) {
      throw new LlaraException(
          "%s: %d rows of labels for %d rows of input_ids"
              .formatted(json.where(), labels.size(), rows.count()));
    }
    return new CollatedBatch(json, rows, labels);
  }

  /** The real tokens of a row, and where the labelled text in them begins and ends. */
  private record Text(int[] tokens, int begin, int end) {
    int[] ids() {
      return Arrays.copyOfRange(tokens, begin, end);
    }

    int[] before() {
      return Arrays.copyOf(tokens, begin);
    }

    int[] after() {
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
   * Returns what makes prompts like these, with the prefix and the suffixes that surround the
   * labelled text of the first row with suffixes of the right length; if there is none, records
   * that.
   *
   * @param prefix what the quantity's name begins with
   */
  Optional<PromptBuilder> prompts(Suffixes suffixes, String prefix, Comparison comparison) {
    Optional<Text> found =
        IntStream.range(0, rows.count())
            .mapToObj(this::text)
            .filter(text -> text.end() > 0 && text.after().length == suffixes.total())
            .findFirst();
    if (found.isEmpty()) {
      comparison.fail(
          prefix + "labels",
          "no row has %d + %d tokens after its labelled text"
              .formatted(suffixes.self(), suffixes.next()));
    }
    return found.map(
        text ->
            PromptBuilder.ofIds(
                text.before(),
                Arrays.copyOf(text.after(), suffixes.self()),
                Arrays.copyOfRange(text.after(), suffixes.self(), suffixes.total()),
                suffixes.pooled()));
  }

  /** Returns the examples that this batch was made of; rows without a label are left out. */
  List<Example> examples(PromptBuilder prompts) {
    List<int[]> self = json.rows("output_summarize_ids");
    List<int[]> next = json.rows("output_predict_ids");
    if (self.size() != rows.count() || next.size() != rows.count()) {
      throw new LlaraException(
          "%s: %d rows of input_ids, but %d of output_summarize_ids and %d of output_predict_ids"
              .formatted(json.where(), rows.count(), self.size(), next.size()));
    }
    return IntStream.range(0, rows.count())
        .filter(row -> text(row).end() > 0)
        .mapToObj(
            row ->
                // The targets begin with BOS as they are.
                Collator.fromIds(
                    prompts,
                    text(row).ids(),
                    withoutPadding(self.get(row)),
                    withoutPadding(next.get(row)),
                    Integer.MAX_VALUE))
        .toList();
  }

  /** Returns whether examples make this batch again. */
  boolean isMadeOf(List<Example> examples) {
    List<Prompt> prompts = examples.stream().map(Example::prompt).toList();
    PaddedRows ours = PaddedRows.of(prompts, rows.width());
    return rows.same(ours) && PaddedRows.equal(labels, labels(prompts, ours));
  }

  private static int[] withoutPadding(int[] ids) {
    return Arrays.stream(ids).dropWhile(id -> id == PAD).toArray();
  }

  /** Compares the integers of a key with ours; returns whether they are equal. */
  boolean compare(String key, List<int[]> ours, Comparison comparison) {
    return comparison.equal(key, PaddedRows.equal(json.rows(key), ours));
  }

  /** Returns the labels of our prompts, padded to the width of some rows. */
  static List<int[]> labels(List<Prompt> prompts, PaddedRows rows) {
    return IntStream.range(0, prompts.size())
        .mapToObj(
            row -> {
              int[] labels = new int[rows.width()];
              Arrays.fill(labels, IGNORED);
              int[] text = prompts.get(row).textIds();
              int begin = rows.firstColumn(row) + prompts.get(row).prefixLength();
              System.arraycopy(text, 0, labels, begin, text.length);
              return labels;
            })
        .toList();
  }

  /** Returns targets of our examples, padded on the left to the longest. */
  static List<int[]> padded(List<int[]> targets) {
    int width = targets.stream().mapToInt(row -> row.length).max().orElse(0);
    return targets.stream().map(row -> Ints.concat(new int[width - row.length], row)).toList();
  }
}
