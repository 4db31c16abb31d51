package io.llara.train.data;

import io.llara.LlaraException;
import io.llara.TokenizationException;
import io.llara.train.data.DataLine.Targets;
import io.llara.train.data.TextSource.Kind;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * One pass over a {@link TextSource}, in the order of its files and lines. Reads as it is asked.
 * Not thread-safe.
 */
public final class TextStream implements Iterator<TrainingText>, AutoCloseable {
  private final TextSource source;
  private final Iterator<Path> files;
  private final Deque<TrainingText> ready = new ArrayDeque<>();
  private @Nullable PassageSplitter splitter;
  private @Nullable LineReader reader;
  private Path file = Path.of("");
  private boolean closed;

  private long lines;
  private long texts;
  private long badLines;
  private long shortDocuments;
  private long otherPart;

  TextStream(TextSource source) {
    this.source = source;
    this.files = source.files().iterator();
  }

  /**
   * Returns whether there is another text; reads on if need be.
   *
   * @throws LlaraException if a file cannot be read (a gzip file that is cut off among them), or a
   *     line cannot be used and {@link BadLines#REFUSE} is set; names file and line
   * @throws IllegalStateException if this stream is closed, or meets a document and the source has
   *     no tokenizer
   */
  @Override
  public boolean hasNext() {
    if (closed) {
      throw new IllegalStateException("this TextStream is closed");
    }
    while (ready.isEmpty() && advance()) {
      lines++;
      readLine();
    }
    return !ready.isEmpty();
  }

  /**
   * Returns the next text.
   *
   * @throws NoSuchElementException if there is none
   * @throws LlaraException as {@link #hasNext}
   * @throws IllegalStateException as {@link #hasNext}
   */
  @Override
  public TrainingText next() {
    if (!hasNext()) {
      throw new NoSuchElementException("all texts have been read");
    }
    texts++;
    return ready.remove();
  }

  /** Returns what this pass has met so far. */
  public TextStatistics statistics() {
    return new TextStatistics(lines, texts, badLines, shortDocuments, otherPart);
  }

  /** Goes to the next line, of the next file if need be. */
  private boolean advance() {
    while (reader == null || !reader.advance()) {
      closeFile();
      if (!files.hasNext()) {
        return false;
      }
      file = files.next();
      reader = new LineReader(file);
    }
    return true;
  }

  private void readLine() {
    LineReader line = Objects.requireNonNull(reader);
    String origin = file + ":" + line.number();
    try {
      DataLine data = DataLine.parse(line.bytes());
      if (source.wants(data)) {
        add(data, origin);
      } else {
        otherPart++;
      }
    } catch (BadLineException e) {
      badLines++;
      source.bad(origin, e);
    }
  }

  private void add(DataLine data, String origin) throws BadLineException {
    Targets targets = data.targets();
    if (targets == null) {
      addPassages(passages(data.text()), origin);
    } else if (source.kind() == Kind.PLAIN_TEXTS) {
      ready.add(new TrainingText(data.text(), "", "", origin));
    } else {
      ready.add(
          new TrainingText(
              data.text(), source.target(targets.self()), source.target(targets.next()), origin));
    }
  }

  private List<String> passages(String document) throws BadLineException {
    if (splitter == null) {
      splitter = source.splitter();
    }
    try {
      return splitter.split(document);
    } catch (TokenizationException e) {
      throw new BadLineException("\"text\" cannot be tokenised: " + e.getMessage(), e);
    }
  }

  private void addPassages(List<String> passages, String document) {
    boolean plain = source.kind() == Kind.PLAIN_TEXTS;
    int count = plain ? passages.size() : passages.size() - 1;
    if (count < 1) {
      shortDocuments++;
      return;
    }
    String next = plain ? "" : source.target(passages.get(0));
    for (int i = 0; i < count; i++) {
      String self = next;
      next = plain ? "" : source.target(passages.get(i + 1));
      String origin = document + " passage " + (i + 1);
      ready.add(new TrainingText(passages.get(i), self, next, origin));
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
  public void close() {
    closed = true;
    closeFile();
  }
}
