package io.llara.train.data;

import com.google.common.hash.Hashing;
import io.llara.LlaraException;
import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * One pass over a {@link JsonlSource}, in the order of its files and lines. Reads as it is asked.
 * Not thread-safe.
 *
 * @param <T> what the lines become
 */
public abstract sealed class JsonlStream<T> implements Iterator<T>, AutoCloseable
    permits TextStream, PairStream {
  private final JsonlSource<T> source;
  private final Iterator<Path> files;
  private final Deque<T> ready = new ArrayDeque<>();
  private @Nullable LineReader reader;
  private boolean closed;

  private long lines;
  private long examples;
  private long badLines;
  private long shortDocuments;
  private long otherPart;

  JsonlStream(JsonlSource<T> source) {
    this.source = source;
    this.files = source.files().iterator();
  }

  /**
   * Makes of a line what there is in it: calls {@link #add}, {@link #tooShort} or {@link #ofOther}.
   *
   * @throws LlaraException if the line cannot be used; names it
   */
  abstract void read(JsonSection line);

  /** Returns whether the hash of a name falls into a fraction of all. */
  static boolean fallsInto(double fraction, String name) {
    long hash = Hashing.murmur3_128().hashString(name, StandardCharsets.UTF_8).asLong();
    return (hash >>> 11) * 0x1p-53 < fraction;
  }

  final void add(T example) {
    ready.add(example);
  }

  /** The line is a document that gives nothing. */
  final void tooShort() {
    shortDocuments++;
  }

  /** Returns whether the held-out split gives the line to the other part, and counts it then. */
  final boolean ofOther(boolean heldOut) {
    boolean other = source.fraction() > 0 && heldOut != source.heldOutWanted();
    otherPart += other ? 1 : 0;
    return other;
  }

  /**
   * Returns whether there is another one; reads on if need be.
   *
   * @throws LlaraException if a file cannot be read (a gzip file that is cut off among them), or a
   *     line cannot be used and {@link BadLines#REFUSE} is set; names file and line
   * @throws IllegalStateException if this stream is closed, or meets a document and the source has
   *     no tokenizer
   */
  @Override
  public final boolean hasNext() {
    if (closed) {
      throw new IllegalStateException("this " + getClass().getSimpleName() + " is closed");
    }
    while (ready.isEmpty() && advance()) {
      lines++;
      readLine();
    }
    return !ready.isEmpty();
  }

  /**
   * Returns the next one.
   *
   * @throws NoSuchElementException if there is none
   * @throws LlaraException as {@link #hasNext}
   * @throws IllegalStateException as {@link #hasNext}
   */
  @Override
  public final T next() {
    if (!hasNext()) {
      throw new NoSuchElementException("all " + source.noun() + "s have been read");
    }
    examples++;
    return ready.remove();
  }

  /** Returns what this pass has met so far. */
  public final DataStatistics statistics() {
    return new DataStatistics(lines, examples, badLines, shortDocuments, otherPart);
  }

  /** Goes to the next line, of the next file if need be. */
  private boolean advance() {
    while (reader == null || !reader.advance()) {
      closeFile();
      if (!files.hasNext()) {
        return false;
      }
      reader = new LineReader(files.next());
    }
    return true;
  }

  private void readLine() {
    try {
      read(Objects.requireNonNull(reader).json());
    } catch (LlaraException e) {
      badLines++;
      source.bad(e);
    }
  }

  private void closeFile() {
    if (reader != null) {
      reader.close();
      reader = null;
    }
  }

  /** Closes the file at hand. Closing twice is harmless. */
  @Override
  public final void close() {
    closed = true;
    closeFile();
  }
}
