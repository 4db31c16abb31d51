package io.llara.examples.golden;

import io.llara.train.contrastive.InfoNce;
import java.util.Locale;

/**
 * The loss of a contrastive case.
 *
 * @param loss what is computed
 * @param group passages a query
 * @param subBatch prompts that are run at once; 0 for all of them
 * @param remark what is to be said of it, or nothing
 */
record ContrastiveLoss(InfoNce loss, int group, int subBatch, String remark) {

  /**
   * Reads the settings. The reference resets the temperature of embeddings that are not normalised
   * to 1; the case names the one it used. This library takes the temperature that it is given.
   */
  static ContrastiveLoss read(GoldenJson json) {
    // Spelled so in the reference.
    boolean normalized = json.bool("normlized");
    double given = json.number("temperature");
    double used =
        json.has("effective_temperature")
            ? json.number("effective_temperature")
            : normalized ? given : 1;
    int subBatch = json.has("sub_batch_size") ? json.integer("sub_batch_size") : 0;
    return new ContrastiveLoss(
        new InfoNce(used, normalized),
        json.integer("train_group_size"),
        Math.max(0, subBatch),
        used == given
            ? ""
            : String.format(
                Locale.ROOT, "; temperature %s, to which the reference resets %s", used, given));
  }

  Tolerance embedding() {
    return loss.normalized() ? Tolerances.UNIT_EMBEDDING : Tolerances.RAW_EMBEDDING;
  }

  Tolerance scores() {
    return loss.normalized() ? Tolerances.SCORE : Tolerances.RAW_EMBEDDING;
  }
}
