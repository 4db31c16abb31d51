package io.llara.train.mining;

import io.llara.retrieval.SearchListener;

/**
 * Hears of the progress of mining, on the thread that called it. What a listener throws ends the
 * mining, as an error would.
 */
public interface MiningListener extends SearchListener {

  /** A listener that does nothing. */
  MiningListener NONE = new MiningListener() {};

  /** The parts of the work, in their order. */
  enum Stage {
    /** The pairs are read. */
    PAIRS,
    /** The collection is read. */
    COLLECTION,
    /** The collection is indexed, or its vectors are made. */
    INDEX,
    /** The queries are searched for. */
    SEARCH,
    /** The texts of the negatives are read. */
    TEXTS,
    /** The file is written. */
    WRITE
  }

  /**
   * A part of the work has come so far.
   *
   * @param done how many pairs, or passages, are done
   * @param total how many there are, or -1 if that is not known
   */
  default void progress(Stage stage, long done, long total) {}
}
