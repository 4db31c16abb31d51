package io.llara.train.data;

import com.google.common.collect.ImmutableList;
import com.google.common.hash.Hashing;
import io.llara.LlaraException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * The examples of a dataset in a seeded random order, epoch after epoch.
 *
 * <p>The lines of all files are read in a random order, so that files sorted by source or topic are
 * drawn from evenly; that takes one pass over the files in advance and eight bytes of memory a
 * line, and a gzipped file is unpacked into a temporary one meanwhile. A buffer is kept full from
 * them, and what is handed out is drawn from it at random. So the passages of one document are
 * spread over about as many examples as the buffer holds. A buffer of one keeps the order of files
 * and lines. Every epoch hands out each example once, or as often as {@link Dataset#weighted} says.
 * The order is a function of the dataset, the size of the buffer, the seed and the epoch, and the
 * same on every machine: processes that share a run each make the whole order and take their own
 * part of every {@linkplain #nextBatch batch}.
 *
 * <p>Not thread-safe.
 *
 * @param <T> the examples
 */
public final class ShuffleBuffer<T> implements Iterator<T>, BatchSource<T> {
  private final Dataset<T> dataset;
  private final int size;
  private final long seed;
  private final long epochs;
  private final List<T> buffer = new ArrayList<>();
  private Random random = new Random(0);
  private @Nullable LineIndex index;
  private @Nullable DatasetReader<T> reader;
  private long epoch;
  private long position;
  private long drawnInEpoch;
  private long perEpoch;
  private boolean closed;

  /**
   * Draws from a dataset without end.
   *
   * @param size how many examples are held to draw from, at least 1
   * @param seed decides the order
   * @throws IllegalArgumentException if {@code size} is below 1
   */
  public ShuffleBuffer(Dataset<T> dataset, int size, long seed) {
    this(dataset, size, seed, Long.MAX_VALUE);
  }

  /**
   * Draws from a dataset for a number of epochs.
   *
   * @param size how many examples are held to draw from, at least 1
   * @param seed decides the order
   * @param epochs how many passes, at least 1
   * @throws IllegalArgumentException if {@code size} or {@code epochs} is below 1, or {@code size}
   *     is 1 and the dataset has weights
   */
  public ShuffleBuffer(Dataset<T> dataset, int size, long seed, long epochs) {
    if (size < 1 || epochs < 1) {
      throw new IllegalArgumentException(
          "the shuffle buffer holds %d for %d epochs; both must be at least 1"
              .formatted(size, epochs));
    }
    if (size == 1 && dataset.isWeighted()) {
      throw new IllegalArgumentException(
          "files with weights are drawn from; a shuffle buffer of 1 keeps their order");
    }
    this.dataset = dataset;
    this.size = size;
    this.seed = seed;
    this.epochs = epochs;
  }

  /** Returns a generator that depends on a seed and an index alone: on every machine the same. */
  static Random random(long seed, long index) {
    return new Random(
        Hashing.murmur3_128().newHasher().putLong(seed).putLong(index).hash().asLong());
  }

  /** Returns whether there is another one, or an error of the files to come in its place. */
  @Override
  public boolean hasNext() {
    if (closed) {
      throw new IllegalStateException("this shuffle buffer is closed");
    }
    return epoch < epochs;
  }

  /**
   * Returns the next one.
   *
   * @throws NoSuchElementException if all epochs are done
   * @throws LlaraException if the dataset has nothing at all, or as {@link DatasetReader#hasNext}
   * @throws IllegalStateException if this is closed
   */
  @Override
  public T next() {
    if (!hasNext()) {
      throw new NoSuchElementException("all " + epochs + " epochs are done");
    }
    DatasetReader<T> pass = fill();
    if (buffer.isEmpty()) {
      throw dataset.nothing(pass.statistics());
    }
    T last = buffer.remove(buffer.size() - 1);
    int index = random.nextInt(buffer.size() + 1);
    T drawn = index == buffer.size() ? last : buffer.set(index, last);
    position++;
    drawnInEpoch++;
    // At once, so that a position at the end of an epoch is the beginning of the next.
    if (buffer.isEmpty() && !pass.hasNext()) {
      pass.close();
      reader = null;
      perEpoch = drawnInEpoch;
      drawnInEpoch = 0;
      epoch++;
    }
    return drawn;
  }

  private DatasetReader<T> fill() {
    DatasetReader<T> pass = reader;
    if (pass == null) {
      random = random(seed, epoch);
      pass = size == 1 ? dataset.open() : new DatasetReader<>(dataset, shuffledLines());
      reader = pass;
    }
    while (buffer.size() < size && pass.hasNext()) {
      buffer.add(pass.next());
    }
    return pass;
  }

  private LineSource shuffledLines() {
    if (index == null) {
      index = new LineIndex(dataset);
    }
    return index.shuffled(random, epoch);
  }

  /**
   * Returns the next {@code count} in order, across the end of an epoch if need be; fewer only
   * where the last one ends.
   *
   * @throws IllegalArgumentException if {@code count} is below 1
   * @throws LlaraException as {@link #next}
   * @throws IllegalStateException if this is closed
   */
  @Override
  public List<T> nextBatch(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("a batch of " + count + "; it needs at least 1");
    }
    ImmutableList.Builder<T> batch = ImmutableList.builder();
    for (int i = 0; i < count && hasNext(); i++) {
      batch.add(next());
    }
    return batch.build();
  }

  /**
   * Passes over some: what follows is what would have followed after as many calls of {@link
   * #next}. To resume where a run ended, skip its {@link #position}.
   *
   * <p>Reads the files on the way and tokenises the sentences of documents, since only that tells
   * how many passages they have; no prompt or target is tokenised. Whole epochs are read once, to
   * count them, and then jumped over: it never takes longer than two passes, unless a file's weight
   * is a fraction, so that epochs differ.
   *
   * @throws IllegalArgumentException if {@code count} is negative
   * @throws LlaraException if there are not as many left, or as {@link #next}
   * @throws IllegalStateException if this is closed
   */
  @Override
  public void skip(long count) {
    if (count < 0) {
      throw new IllegalArgumentException(count + " cannot be skipped");
    }
    long left = count;
    while (left > 0) {
      if (!hasNext()) {
        throw new LlaraException(
            "%s: %d %ss cannot be skipped: %d epochs have only %d; has the data changed?"
                .formatted(dataset, count, dataset.format().noun(), epochs, position));
      }
      if (reader == null && perEpoch > 0 && left >= perEpoch && dataset.epochsAreAlike()) {
        long passes = Math.min(left / perEpoch, epochs - epoch);
        epoch += passes;
        position += passes * perEpoch;
        left -= passes * perEpoch;
      } else {
        next();
        left--;
      }
    }
  }

  /** Returns how many have been handed out or skipped. */
  @Override
  public long position() {
    return position;
  }

  /** Returns how many epochs are complete: the next example belongs to the epoch of this number. */
  long epoch() {
    return epoch;
  }

  /** Closes the files and deletes temporary ones. Closing twice is harmless. */
  @Override
  public void close() {
    closed = true;
    buffer.clear();
    if (reader != null) {
      reader.close();
    }
    if (index != null) {
      index.close();
    }
  }
}
