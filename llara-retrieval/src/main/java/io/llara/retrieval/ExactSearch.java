package io.llara.retrieval;

import io.llara.LlaraException;
import java.util.ArrayList;
import java.util.List;

/**
 * Finds, for each of many queries, the vectors with the largest inner products among all of a set.
 * Of vectors of length 1 these are the nearest by cosine; {@link UnitVectors} makes them so.
 *
 * <p>A score is the inner product of two float32 vectors in float64, summed in one fixed order, and
 * of equal scores the smaller index comes first: what is found is defined by the vectors alone. It
 * is the same, to the last bit, in every run, on every machine, with any number of lanes and any
 * sizes of blocks.
 *
 * <p>Nearly all of the work is a matrix product in float32, on lane threads with one native thread
 * each. Its results only say which vectors need a second look: those that are not below the best so
 * far by more than rounding errors explain. The vectors are read block by block, so that they may
 * lie on disk, and once for each thousand queries.
 *
 * <p>Thread-safe. The lanes end when this is closed, which is harmless when repeated.
 */
public final class ExactSearch implements AutoCloseable {
  /**
   * The most bytes of vectors that are looked at in one go: the fewer blocks, the fewer second
   * looks, but not all sets are views of files.
   */
  private static final long BLOCK_BYTES = 512L << 20;

  private final SearchLanes lanes;
  private final long blockBytes;

  /** Takes what was found, in the order of the queries, on the thread that called the search. */
  @FunctionalInterface
  public interface HitsReceiver {
    /**
     * Takes what was found for one query.
     *
     * @param query the query's index
     * @param hits the best vectors, best first
     */
    void accept(long query, Hits hits);
  }

  /**
   * Starts lanes.
   *
   * @param lanes how many threads compute
   */
  public ExactSearch(int lanes) {
    this(lanes, BLOCK_BYTES);
  }

  /** Starts lanes for blocks of another size. */
  ExactSearch(int lanes, long blockBytes) {
    this.lanes = new SearchLanes(lanes);
    this.blockBytes = blockBytes;
  }

  /**
   * Returns the best vectors for each query, in the order of the queries.
   *
   * @param queries the vectors of the queries
   * @param passages the vectors to search
   * @param k how many to find for each query; all if there are fewer
   * @throws IllegalArgumentException if the dimensions differ or {@code k} is not positive
   * @throws LlaraException if a vector is not finite or longer than 1e18 (the message names it), or
   *     this thread is interrupted
   * @throws IllegalStateException if this is closed
   */
  public List<Hits> search(VectorSet queries, VectorSet passages, int k) {
    List<Hits> all = new ArrayList<>();
    search(queries, passages, k, (query, hits) -> all.add(hits));
    return all;
  }

  /**
   * Hands over the best vectors for each query as soon as they are known; for any number of
   * queries.
   *
   * @throws RuntimeException as {@link #search(VectorSet, VectorSet, int)}, or what the receiver
   *     throws
   */
  public void search(VectorSet queries, VectorSet passages, int k, HitsReceiver receiver) {
    if (k < 1) {
      throw new IllegalArgumentException("k is " + k + "; expected 1 or more");
    }
    if (queries.count() == 0) {
      return;
    }
    if (passages.count() == 0) {
      Hits none = new TopHits(0).drain();
      for (long i = 0; i < queries.count(); i++) {
        receiver.accept(i, none);
      }
      return;
    }
    if (queries.dimension() != passages.dimension()) {
      throw new IllegalArgumentException(
          "the queries have the dimension %d, the passages %d"
              .formatted(queries.dimension(), passages.dimension()));
    }
    int limit = (int) Math.min(k, passages.count());
    long rows = Math.max(1, blockBytes / ((long) passages.dimension() * Float.BYTES));
    int blockRows = (int) Math.min(rows, passages.count());
    queries.forEachBlock(
        QueryBlock.queriesAtOnce(limit),
        (first, asked, vectors) -> {
          try (QueryBlock block =
              new QueryBlock(first, asked, vectors, passages.dimension(), limit, lanes.count())) {
            passages.forEachBlock(
                blockRows, (begin, count, found) -> block.offer(begin, count, found, lanes));
            for (int i = 0; i < asked; i++) {
              receiver.accept(first + i, block.drain(i));
            }
          }
        });
  }

  @Override
  public void close() {
    lanes.close();
  }
}
