package io.llara.train.data;

import io.llara.LlaraException;
import io.llara.io.LineReader;
import io.llara.retrieval.DocumentReader;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;

/**
 * One pass over a {@link Dataset}, one line at a time: in the order of its files and lines where
 * {@link Dataset#open} began it. Not thread-safe.
 *
 * @param <T> the examples
 */
public final class DatasetReader<T> implements Iterator<T>, AutoCloseable {
  private final Dataset<T> dataset;
  private final LineSource source;
  private Iterator<T> ready = List.<T>of().iterator();
  private boolean closed;

  private long lines;
  private long examples;
  private long badLines;
  private long shortDocuments;
  private long otherPart;

  /** Takes over the source. */
  DatasetReader(Dataset<T> dataset, LineSource source) {
    this.dataset = dataset;
    this.source = source;
  }

  /**
   * Returns whether there is another example; reads on if need be.
   *
   * @throws LlaraException if a file cannot be read (a gzip file that is cut off among them), or a
   *     line cannot be used and {@link BadLines#REFUSE} is set; names file and line
   * @throws IllegalStateException if this reader is closed, or meets a document and has no splitter
   */
  @Override
  public boolean hasNext() {
    if (closed) {
      throw new IllegalStateException("this reader of a dataset is closed");
    }
    while (!ready.hasNext()) {
      LineReader line = source.next();
      if (line == null) {
        return false;
      }
      lines++;
      try {
        if (line.number() > 1 || !DocumentReader.isDprHeader(line.line())) {
          read(line);
        }
      } catch (LlaraException e) {
        badLines++;
        dataset.bad(e);
      }
    }
    return true;
  }

  private void read(LineReader from) {
    LineFormat.Line<T> line = dataset.format().read(from);
    if (!dataset.holds(line.splitKey())) {
      otherPart++;
      return;
    }
    ready = line.examples().get().iterator();
    if (!ready.hasNext()) {
      shortDocuments++;
    }
  }

  /**
   * Returns the next example.
   *
   * @throws NoSuchElementException if there is none
   * @throws LlaraException as {@link #hasNext}
   * @throws IllegalStateException as {@link #hasNext}
   */
  @Override
  public T next() {
    if (!hasNext()) {
      throw new NoSuchElementException("all %ss have been read".formatted(dataset.format().noun()));
    }
    examples++;
    return ready.next();
  }

  /** Returns what this pass has met so far. */
  public DataStatistics statistics() {
    return new DataStatistics(lines, examples, badLines, shortDocuments, otherPart);
  }

  /** Closes the file at hand. Closing twice is harmless. */
  @Override
  public void close() {
    closed = true;
    source.close();
  }
}
