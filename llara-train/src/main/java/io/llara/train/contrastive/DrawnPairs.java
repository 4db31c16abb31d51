package io.llara.train.contrastive;

import io.llara.train.data.PairSource;
import io.llara.train.data.Shuffled;
import io.llara.train.data.TrainingPair;
import java.util.List;

/**
 * The pairs that a run draws: shuffled, without end, and with other negatives when it is told so.
 * As long as the queries and their order stay, so do what is drawn next and the position.
 *
 * <p>Not thread-safe.
 */
final class DrawnPairs implements AutoCloseable {
  private final int bufferSize;
  private final long seed;
  private Shuffled<TrainingPair> shuffled;

  DrawnPairs(PairSource pairs, int bufferSize, long seed) {
    this.bufferSize = bufferSize;
    this.seed = seed;
    this.shuffled = Shuffled.create(pairs, bufferSize, seed);
  }

  /** Returns the next pairs. */
  List<TrainingPair> nextBatch(int count) {
    return shuffled.nextBatch(count);
  }

  /** Returns how many pairs were drawn or skipped. */
  long position() {
    return shuffled.position();
  }

  /** Passes over pairs. */
  void skip(long count) {
    shuffled.skip(count);
  }

  /** Goes on at the same place of the same pairs with other negatives. */
  void use(PairSource pairs) {
    long position = position();
    shuffled.close();
    shuffled = Shuffled.create(pairs, bufferSize, seed);
    shuffled.skip(position);
  }

  @Override
  public void close() {
    shuffled.close();
  }
}
