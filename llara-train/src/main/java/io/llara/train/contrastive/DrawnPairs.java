package io.llara.train.contrastive;

import io.llara.train.data.ShuffleBuffer;
import io.llara.train.data.TrainingPair;
import java.util.List;

/**
 * The pairs that a run draws: shuffled, without end, and with other negatives when it is told so.
 * As long as the queries and their order stay, so do what is drawn next and the position.
 *
 * <p>Not thread-safe.
 */
final class DrawnPairs implements AutoCloseable {
  private ShuffleBuffer<TrainingPair> shuffled;

  /** Takes over what is drawn from. */
  DrawnPairs(ShuffleBuffer<TrainingPair> shuffled) {
    this.shuffled = shuffled;
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

  /**
   * Goes on at the same place of the same pairs with other negatives.
   *
   * @param others taken over; nothing was drawn from it yet
   */
  void use(ShuffleBuffer<TrainingPair> others) {
    long position = position();
    shuffled.close();
    shuffled = others;
    shuffled.skip(position);
  }

  @Override
  public void close() {
    shuffled.close();
  }
}
