package io.llara.train.data;

import java.util.List;

/**
 * Batches of a dataset's examples without end, in an order that is the same on every machine:
 * processes that share a run each make the whole order and take their own part of every batch. Not
 * thread-safe.
 *
 * @param <T> the examples
 */
public interface BatchSource<T> extends AutoCloseable {
  /**
   * Returns the next batch.
   *
   * @throws IllegalArgumentException if there is no batch of so many
   * @throws io.llara.LlaraException if the dataset has nothing at all, or as {@link
   *     DatasetReader#hasNext}
   * @throws IllegalStateException if this is closed
   */
  List<T> nextBatch(int count);

  /** Returns how many examples have been handed out or skipped. */
  long position();

  /**
   * Passes over some examples: what follows is what would have followed after them. To resume where
   * a run ended, skip its {@link #position}.
   *
   * @throws IllegalArgumentException if no batch ends there
   * @throws io.llara.LlaraException as {@link #nextBatch}
   * @throws IllegalStateException if this is closed
   */
  void skip(long count);

  /** Closes the files. Closing twice is harmless. */
  @Override
  void close();
}
