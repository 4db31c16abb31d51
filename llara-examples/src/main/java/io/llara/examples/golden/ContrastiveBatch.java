package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.prompt.Prompt;
import io.llara.train.contrastive.InfoNce;
import java.util.List;
import java.util.Locale;

/**
 * A batch of queries and passages as the reference's collator made it, both padded on the left, and
 * its loss.
 *
 * @param queries {@code [queries, width]}
 * @param passages {@code [queries · group, width]}, the positive of each query first
 * @param group passages a query
 * @param loss what is computed
 * @param subBatch prompts that are run at once; 0 for all of them
 * @param remark a remark on the loss; may be empty
 */
record ContrastiveBatch(
    PaddedRows queries, PaddedRows passages, int group, InfoNce loss, int subBatch, String remark) {

  /**
   * Reads a case. The reference resets the temperature of embeddings that are not normalised to 1;
   * the case names the one it used. This library takes the temperature that it is given.
   */
  static ContrastiveBatch read(GoldenJson json) {
    // Spelled so in the reference.
    boolean normalized = json.bool("normlized");
    double given = json.number("temperature");
    String effective = "effective_temperature";
    double used = json.has(effective) ? json.number(effective) : normalized ? given : 1;
    String remark =
        used == given
            ? ""
            : String.format(
                Locale.ROOT, "; temperature %s, to which the reference resets %s", used, given);
    int group = json.integer("train_group_size");
    int subBatch = json.has("sub_batch_size") ? json.integer("sub_batch_size") : 0;
    PaddedRows queries = PaddedRows.read(json.object("query"));
    PaddedRows passages = PaddedRows.read(json.object("passage"));
    if (passages.count() != (long) queries.count() * group) {
      throw new LlaraException(
          "%s: %d passages for %d queries in groups of %d"
              .formatted(json.where(), passages.count(), queries.count(), group));
    }
    return new ContrastiveBatch(
        queries, passages, group, new InfoNce(used, normalized), Math.max(0, subBatch), remark);
  }

  /** Compares our prompts, padded as these rows are; returns whether they are the same. */
  boolean compare(List<Prompt> ourQueries, List<Prompt> ourPassages, Comparison comparison) {
    return queries.compare("query ", PaddedRows.of(ourQueries, queries.width()), comparison)
        & passages.compare("passage ", PaddedRows.of(ourPassages, passages.width()), comparison);
  }

  /** Returns the number of tokens of the longest row. */
  int longest() {
    return Math.max(queries.width(), passages.width());
  }

  Tolerance embeddingTolerance() {
    return loss.normalized() ? Tolerance.UNIT_EMBEDDING : Tolerance.RAW_EMBEDDING;
  }

  Tolerance scoreTolerance() {
    return loss.normalized() ? Tolerance.SCORE : Tolerance.RAW_EMBEDDING;
  }
}
