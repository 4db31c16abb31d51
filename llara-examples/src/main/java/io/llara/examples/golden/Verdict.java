package io.llara.examples.golden;

/** What is made of a difference. */
public enum Verdict {
  /** Within the tolerance. */
  PASS,
  /** Beyond the tolerance. */
  FAIL,
  /** Shown, but nothing says how large it may be. */
  NOT_JUDGED
}
