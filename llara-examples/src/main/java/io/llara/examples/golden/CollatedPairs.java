package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.prompt.Prompt;
import java.util.Arrays;
import java.util.List;

/**
 * A batch of queries and passages as the reference's collator made it, both padded on the left.
 *
 * @param json where they stand, under {@code query} and {@code passage}
 * @param queries {@code [queries, width]}
 * @param passages {@code [queries · group, width]}, the positive of each query first
 */
record CollatedPairs(GoldenJson json, GoldenRows queries, GoldenRows passages) {
  private static final String QUERY = "query";
  private static final String PASSAGE = "passage";

  static CollatedPairs read(GoldenJson json, int group) {
    GoldenRows queries = GoldenRows.read(json.object(QUERY));
    GoldenRows passages = GoldenRows.read(json.object(PASSAGE));
    if (passages.batch() != (long) queries.batch() * group) {
      throw new LlaraException(
          "%s: %d passages for %d queries in groups of %d"
              .formatted(json.where(), passages.batch(), queries.batch(), group));
    }
    return new CollatedPairs(json, queries, passages);
  }

  /** Compares our prompts, padded as these rows are; returns whether they are the same. */
  boolean compare(Judge judge, List<Prompt> ourQueries, List<Prompt> ourPassages) {
    return compare(judge, QUERY, queries, ourQueries)
        & compare(judge, PASSAGE, passages, ourPassages);
  }

  private boolean compare(Judge judge, String key, GoldenRows rows, List<Prompt> prompts) {
    PaddedExamples ours = PaddedExamples.of(prompts, rows.width());
    GoldenJson batch = json.object(key);
    return judge.equal(key + " input_ids", equal(batch.rows("input_ids"), ours.inputIds()))
        & judge.equal(
            key + " attention_mask", equal(batch.rows("attention_mask"), ours.attentionMask()));
  }

  private static boolean equal(List<int[]> expected, List<int[]> actual) {
    return Arrays.deepEquals(expected.toArray(), actual.toArray());
  }
}
