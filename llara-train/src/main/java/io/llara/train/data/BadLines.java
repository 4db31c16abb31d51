package io.llara.train.data;

/** What happens to a line of a data file that cannot be used. */
public enum BadLines {
  /** The first one ends the reading with an error that names file and line. */
  REFUSE,
  /** They are left out and counted; the first ten are logged at level warn, with file and line. */
  SKIP
}
