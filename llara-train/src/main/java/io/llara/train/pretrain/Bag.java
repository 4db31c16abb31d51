package io.llara.train.pretrain;

import io.llara.Internal;
import java.util.Arrays;

/**
 * What an embedding must predict: distinct token ids with weights that sum to one. Immutable.
 *
 * <p>The two recipes differ here. The released code predicts the <em>set</em> of the target's ids,
 * the paper (arXiv 2312.15503, section 3.1) every one of its tokens.
 */
@Internal
public final class Bag {
  /** Ids up to this one stand for padding, sentence begin and end in LLaMA's vocabulary. */
  private static final int LAST_CONTROL_ID = 2;

  private final int[] ids;
  private final double[] weights;

  private Bag(int[] sorted) {
    ids = new int[(int) Arrays.stream(sorted).distinct().count()];
    weights = new double[ids.length];
    int last = -1;
    for (int id : sorted) {
      if (last < 0 || ids[last] != id) {
        ids[++last] = id;
      }
      weights[last] += 1;
    }
    for (int i = 0; i < weights.length; i++) {
      weights[i] /= sorted.length;
    }
  }

  /** Returns the bag of the released recipe: every id above 2 once, all of the same weight. */
  public static Bag ofSet(int[] ids) {
    return new Bag(
        Arrays.stream(ids).filter(id -> id > LAST_CONTROL_ID).distinct().sorted().toArray());
  }

  /** Returns the bag of the paper: every token counts, a repeated one as often as it occurs. */
  public static Bag ofTokens(int[] ids) {
    return new Bag(Arrays.stream(ids).sorted().toArray());
  }

  /** Returns the bag of a row that predicts a single token. */
  public static Bag of(int id) {
    return new Bag(new int[] {id});
  }

  /** Returns whether there is nothing to predict: such a bag has no loss. */
  public boolean isEmpty() {
    return ids.length == 0;
  }

  /** Returns the number of distinct ids. */
  public int size() {
    return ids.length;
  }

  /** Returns an id; they ascend. */
  public int id(int index) {
    return ids[index];
  }

  /** Returns the weight of an id. */
  public double weight(int index) {
    return weights[index];
  }
}
