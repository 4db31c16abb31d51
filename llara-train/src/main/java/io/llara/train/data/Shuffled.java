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
 * The texts or pairs of a source in a seeded random order, pass after pass.
 *
 * <p>A buffer is kept full from the files, and what is handed out is drawn from it at random. So
 * the passages of one document, which lie side by side in the file, are spread over about as many
 * texts as the buffer holds; a buffer of one keeps the order. Every pass hands out each one once.
 * The order is a function of the source, the size of the buffer, the seed and the pass, and the
 * same on every machine: processes that share a run each make the whole order and take their own
 * part of every {@linkplain #nextBatch batch}.
 *
 * <p>Not thread-safe.
 *
 * @param <T> what the source holds
 */
public final class Shuffled<T> implements Iterator<T>, AutoCloseable {
  private final JsonlSource<T> source;
  private final int bufferSize;
  private final long seed;
  private final long epochs;
  private final List<T> buffer = new ArrayList<>();
  private Random random = new Random(0);
  private @Nullable JsonlStream<T> stream;
  private DataStatistics lastPass = new DataStatistics(0, 0, 0, 0, 0);
  private long epoch;
  private long position;
  private long drawnInEpoch;
  private long perEpoch;
  private boolean closed;

  private Shuffled(JsonlSource<T> source, int bufferSize, long seed, long epochs) {
    this.source = source;
    this.bufferSize = bufferSize;
    this.seed = seed;
    this.epochs = epochs;
  }

  /**
   * Returns what a source holds without end.
   *
   * @param source the texts or pairs
   * @param bufferSize how many are held to draw from, at least 1
   * @param seed decides the order
   * @throws IllegalArgumentException if {@code bufferSize} is below 1
   */
  public static <T> Shuffled<T> create(JsonlSource<T> source, int bufferSize, long seed) {
    return create(source, bufferSize, seed, Long.MAX_VALUE);
  }

  /**
   * Returns what a source holds for a number of passes.
   *
   * @param source the texts or pairs
   * @param bufferSize how many are held to draw from, at least 1
   * @param seed decides the order
   * @param epochs how many passes, at least 1
   * @throws IllegalArgumentException if {@code bufferSize} or {@code epochs} is below 1
   */
  public static <T> Shuffled<T> create(
      JsonlSource<T> source, int bufferSize, long seed, long epochs) {
    if (bufferSize < 1 || epochs < 1) {
      throw new IllegalArgumentException(
          "the shuffle buffer holds %d for %d epochs; both must be at least 1"
              .formatted(bufferSize, epochs));
    }
    return new Shuffled<>(source, bufferSize, seed, epochs);
  }

  /** Returns whether there is another one, or an error of the files to come in its place. */
  @Override
  public boolean hasNext() {
    requireOpen();
    return epoch < epochs;
  }

  /**
   * Returns the next one.
   *
   * @throws NoSuchElementException if all passes are done
   * @throws LlaraException if the source has nothing at all, or as {@link JsonlStream#hasNext}
   * @throws IllegalStateException if this is closed
   */
  @Override
  public T next() {
    if (!hasNext()) {
      throw new NoSuchElementException("all " + epochs + " epochs are done");
    }
    JsonlStream<T> pass = fill();
    if (buffer.isEmpty()) {
      throw source.nothing(pass.statistics());
    }
    T drawn = draw();
    position++;
    drawnInEpoch++;
    // Told at once, so that a position at the end of a pass is the beginning of the next.
    if (buffer.isEmpty() && !pass.hasNext()) {
      endEpoch(pass);
    }
    return drawn;
  }

  private JsonlStream<T> fill() {
    JsonlStream<T> pass = stream;
    if (pass == null) {
      pass = source.open();
      stream = pass;
      random =
          new Random(
              Hashing.murmur3_128().newHasher().putLong(seed).putLong(epoch).hash().asLong());
    }
    while (buffer.size() < bufferSize && pass.hasNext()) {
      buffer.add(pass.next());
    }
    return pass;
  }

  private T draw() {
    T last = buffer.remove(buffer.size() - 1);
    int index = random.nextInt(buffer.size() + 1);
    return index == buffer.size() ? last : buffer.set(index, last);
  }

  private void endEpoch(JsonlStream<T> pass) {
    lastPass = pass.statistics();
    pass.close();
    stream = null;
    perEpoch = drawnInEpoch;
    drawnInEpoch = 0;
    epoch++;
  }

  /**
   * Returns the next {@code count} in order, across the end of a pass if need be; fewer only where
   * the last pass ends.
   *
   * @throws IllegalArgumentException if {@code count} is below 1
   * @throws LlaraException as {@link #next}
   * @throws IllegalStateException if this is closed
   */
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
   * #next}. To go on where a run ended, skip its {@link #position}.
   *
   * <p>Reads the files on the way and tokenises the sentences of documents, since only that tells
   * how many passages they have; no prompt or target is tokenised. Whole passes are read once, to
   * count them, and then jumped over: it never takes longer than two passes.
   *
   * @throws IllegalArgumentException if {@code count} is negative
   * @throws LlaraException if there are not as many left, or as {@link #next}
   * @throws IllegalStateException if this is closed
   */
  public void skip(long count) {
    if (count < 0) {
      throw new IllegalArgumentException(count + " cannot be skipped");
    }
    long left = count;
    while (left > 0) {
      if (!hasNext()) {
        throw new LlaraException(
            "%s: %d %ss cannot be skipped: %d epochs have only %d; has the data changed?"
                .formatted(source, count, source.noun(), epochs, position));
      }
      if (stream == null && perEpoch > 0 && left >= perEpoch) {
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
  public long position() {
    return position;
  }

  /** Returns how many passes are complete: the next one belongs to the pass of this number. */
  public long epoch() {
    return epoch;
  }

  /** Returns what the pass under way has met so far, or the last one at the end of a pass. */
  public DataStatistics statistics() {
    return stream == null ? lastPass : stream.statistics();
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("this Shuffled is closed");
    }
  }

  /** Closes the file at hand. Closing twice is harmless. */
  @Override
  public void close() {
    closed = true;
    buffer.clear();
    if (stream != null) {
      stream.close();
    }
  }
}
