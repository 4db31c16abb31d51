package io.llara.train.data;

/** What happens to a query that has fewer negatives than a group takes. */
public enum FewNegatives {
  /**
   * Its negatives are taken several times, as the released code does: they then weigh more in the
   * loss. One that has none at all cannot be used.
   */
  REPEAT,
  /** It cannot be used. */
  REFUSE
}
