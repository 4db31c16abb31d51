package io.llara.train.run;

import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.train.data.ShuffleBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * The examples of a run: this process's share of one batch after another, drawn from shuffled data,
 * and those that are held out.
 *
 * <p>Not thread-safe.
 *
 * @param <T> what the data holds
 * @param <E> what it is made into
 */
@Internal
public final class Examples<T, E> implements AutoCloseable {
  private final Share share;
  private final Preparation<T, E> preparation;
  private final List<List<E>> heldOut;
  private ShuffleBuffer<T> shuffled;

  /**
   * Which examples of a batch are whose.
   *
   * @param batch examples a step, of all processes
   * @param rank the number of this process
   * @param ranks how many processes there are
   */
  public record Share(int batch, int rank, int ranks) {
    /** Checks that all processes get as many. */
    public Share {
      if (batch < 1 || batch % ranks != 0) {
        throw new IllegalArgumentException(
            "a batch of %d examples cannot be divided among %d processes".formatted(batch, ranks));
      }
    }

    /** Returns how many a process gets. */
    public int size() {
      return batch / ranks;
    }
  }

  /** Makes examples. */
  @FunctionalInterface
  public interface Preparation<T, E> {
    /**
     * Makes an example.
     *
     * @param position how many were drawn before it since the run began
     */
    E prepare(T text, long position);
  }

  /**
   * Takes over what is drawn from.
   *
   * @param heldOut batches that this process evaluates
   */
  public Examples(
      ShuffleBuffer<T> shuffled,
      Share share,
      Preparation<T, E> preparation,
      List<List<E>> heldOut) {
    this.shuffled = shuffled;
    this.share = share;
    this.preparation = preparation;
    this.heldOut = List.copyOf(heldOut);
  }

  /**
   * Draws the next batch and returns this process's share.
   *
   * @throws LlaraException if the data ended, or cannot be used
   */
  public List<E> nextBatch() {
    long position = position();
    List<T> drawn = shuffled.nextBatch(share.batch());
    if (drawn.size() < share.batch()) {
      throw new LlaraException("the data ended before the run did");
    }
    int first = share.rank() * share.size();
    List<E> mine = new ArrayList<>();
    for (int i = first; i < first + share.size(); i++) {
      mine.add(preparation.prepare(drawn.get(i), position + i));
    }
    return mine;
  }

  /** Returns how many examples all processes have drawn or skipped since the run began. */
  public long position() {
    return shuffled.position();
  }

  /** Passes over examples. */
  public void skip(long count) {
    shuffled.skip(count);
  }

  /**
   * Goes on at the same position of other data.
   *
   * @param others taken over; nothing was drawn from it yet
   */
  public void replace(ShuffleBuffer<T> others) {
    long position = position();
    shuffled.close();
    shuffled = others;
    shuffled.skip(position);
  }

  /** Returns the batches of held-out examples that this process evaluates. */
  public List<List<E>> heldOut() {
    return heldOut;
  }

  @Override
  public void close() {
    shuffled.close();
  }
}
