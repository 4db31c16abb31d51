package io.llara.retrieval;

import io.llara.Encoder;

/**
 * A part of a collection, of several that are encoded apart. Shards of one collection are of nearly
 * equal size, and begin at multiples of {@value Encoder#LARGEST_WINDOW} texts: a shard has the
 * vectors, to the last bit, that it has as a part of the whole.
 *
 * @param number which of them, from 1
 * @param of how many there are
 */
public record Shard(int number, int of) {
  /** All of a collection. */
  public static final Shard WHOLE = new Shard(1, 1);

  /** Checks the numbers. */
  public Shard {
    if (number < 1 || number > of) {
      throw new IllegalArgumentException(
          "shard %d of %d; expected one from 1 to their number".formatted(number, of));
    }
  }

  /** Returns the first text, of so many in the collection. */
  public long begin(long total) {
    return end(number - 1, total);
  }

  /** Returns the text after the last. */
  public long end(long total) {
    return end(number, total);
  }

  private long end(int before, long total) {
    long windows = (total + Encoder.LARGEST_WINDOW - 1) / Encoder.LARGEST_WINDOW;
    return Math.min(total, windows * before / of * Encoder.LARGEST_WINDOW);
  }

  @Override
  public String toString() {
    return number + "/" + of;
  }
}
