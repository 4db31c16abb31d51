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
 * The texts of a source in a seeded random order, pass after pass.
 *
 * <p>A buffer of texts is kept full from the files, and each text handed out is drawn from it at
 * random. So the passages of one document, which lie side by side in the file, are spread over
 * about as many texts as the buffer holds; a buffer of one keeps the order. Every pass hands out
 * each text once. The order is a function of the source, the size of the buffer, the seed and the
 * pass, and the same on every machine: processes that share a run each make the whole order and
 * take their own part of every {@linkplain #nextBatch batch}.
 *
 * <p>Not thread-safe.
 */
public final class ShuffledTexts implements Iterator<TrainingText>, AutoCloseable {
  private final TextSource source;
  private final int bufferSize;
  private final long seed;
  private final long epochs;
  private final List<TrainingText> buffer = new ArrayList<>();
  private Random random = new Random(0);
  private @Nullable TextStream stream;
  private TextStatistics lastPass = new TextStatistics(0, 0, 0, 0, 0);
  private long epoch;
  private long position;
  private long drawnInEpoch;
  private long textsPerEpoch;
  private boolean closed;

  private ShuffledTexts(TextSource source, int bufferSize, long seed, long epochs) {
    this.source = source;
    this.bufferSize = bufferSize;
    this.seed = seed;
    this.epochs = epochs;
  }

  /**
   * Returns the texts of a source without end.
   *
   * @param source the texts; not closed
   * @param bufferSize how many texts are held to draw from, at least 1
   * @param seed decides the order
   * @throws IllegalArgumentException if {@code bufferSize} is below 1
   */
  public static ShuffledTexts create(TextSource source, int bufferSize, long seed) {
    return create(source, bufferSize, seed, Long.MAX_VALUE);
  }

  /**
   * Returns the texts of a source for a number of passes.
   *
   * @param source the texts; not closed
   * @param bufferSize how many texts are held to draw from, at least 1
   * @param seed decides the order
   * @param epochs how many passes, at least 1
   * @throws IllegalArgumentException if {@code bufferSize} or {@code epochs} is below 1
   */
  public static ShuffledTexts create(TextSource source, int bufferSize, long seed, long epochs) {
    if (bufferSize < 1 || epochs < 1) {
      throw new IllegalArgumentException(
          "the shuffle buffer holds %d texts for %d epochs; both must be at least 1"
              .formatted(bufferSize, epochs));
    }
    return new ShuffledTexts(source, bufferSize, seed, epochs);
  }

  /** Returns whether there is another text, or an error of the files to come in its place. */
  @Override
  public boolean hasNext() {
    requireOpen();
    return epoch < epochs;
  }

  /**
   * Returns the next text.
   *
   * @throws NoSuchElementException if all passes are done
   * @throws LlaraException if the source has no text at all, or as {@link TextStream#hasNext}
   * @throws IllegalStateException if this is closed
   */
  @Override
  public TrainingText next() {
    if (!hasNext()) {
      throw new NoSuchElementException("all " + epochs + " epochs are done");
    }
    TextStream pass = fill();
    if (buffer.isEmpty()) {
      throw source.noTexts(pass.statistics());
    }
    TrainingText drawn = draw();
    position++;
    drawnInEpoch++;
    // Told at once, so that a position at the end of a pass is the beginning of the next.
    if (buffer.isEmpty() && !pass.hasNext()) {
      endEpoch(pass);
    }
    return drawn;
  }

  private TextStream fill() {
    TextStream pass = stream;
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

  private TrainingText draw() {
    TrainingText last = buffer.remove(buffer.size() - 1);
    int index = random.nextInt(buffer.size() + 1);
    return index == buffer.size() ? last : buffer.set(index, last);
  }

  private void endEpoch(TextStream pass) {
    lastPass = pass.statistics();
    pass.close();
    stream = null;
    textsPerEpoch = drawnInEpoch;
    drawnInEpoch = 0;
    epoch++;
  }

  /**
   * Returns the next {@code texts} texts in order, across the end of a pass if need be; fewer only
   * where the last pass ends.
   *
   * @throws IllegalArgumentException if {@code texts} is below 1
   * @throws LlaraException as {@link #next}
   * @throws IllegalStateException if this is closed
   */
  public List<TrainingText> nextBatch(int texts) {
    if (texts < 1) {
      throw new IllegalArgumentException("a batch of " + texts + " texts; it needs at least 1");
    }
    ImmutableList.Builder<TrainingText> batch = ImmutableList.builder();
    for (int i = 0; i < texts && hasNext(); i++) {
      batch.add(next());
    }
    return batch.build();
  }

  /**
   * Passes over texts: what follows is what would have followed after as many calls of {@link
   * #next}. To go on where a run ended, skip its {@link #position}.
   *
   * <p>Reads the files on the way and tokenises the sentences of documents, since only that tells
   * how many passages they have; no prompt or target is tokenised. Whole passes are read once, to
   * count their texts, and then jumped over: it never takes longer than two passes.
   *
   * @throws IllegalArgumentException if {@code texts} is negative
   * @throws LlaraException if there are not as many texts left, or as {@link #next}
   * @throws IllegalStateException if this is closed
   */
  public void skip(long texts) {
    if (texts < 0) {
      throw new IllegalArgumentException(texts + " texts cannot be skipped");
    }
    long left = texts;
    while (left > 0) {
      if (!hasNext()) {
        throw new LlaraException(
            "%s: %d texts cannot be skipped: %d epochs have only %d; has the data changed?"
                .formatted(source, texts, epochs, position));
      }
      if (stream == null && textsPerEpoch > 0 && left >= textsPerEpoch) {
        long passes = Math.min(left / textsPerEpoch, epochs - epoch);
        epoch += passes;
        position += passes * textsPerEpoch;
        left -= passes * textsPerEpoch;
      } else {
        next();
        left--;
      }
    }
  }

  /** Returns how many texts have been handed out or skipped. */
  public long position() {
    return position;
  }

  /** Returns how many passes are complete: the next text belongs to the pass of this number. */
  public long epoch() {
    return epoch;
  }

  /** Returns what the pass under way has met so far, or the last one at the end of a pass. */
  public TextStatistics statistics() {
    return stream == null ? lastPass : stream.statistics();
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("this ShuffledTexts is closed");
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
