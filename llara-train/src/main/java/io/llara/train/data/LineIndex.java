package io.llara.train.data;

import static java.util.Objects.requireNonNull;

import com.google.common.primitives.ImmutableLongArray;
import com.google.common.primitives.Ints;
import io.llara.LlaraException;
import io.llara.io.LineReader;
import io.llara.io.TemporaryPath;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.zip.GZIPInputStream;
import org.jspecify.annotations.Nullable;

/**
 * Where the lines of files begin, so that all of them can be read in any order. It takes one pass
 * over the files and eight bytes of memory a line; a gzipped file is unpacked into a temporary one,
 * which {@link #close} deletes. Not thread-safe.
 */
final class LineIndex implements AutoCloseable {
  /** The files by the number of lines before them; of those without lines, none is kept. */
  private final NavigableMap<Integer, Text> texts = new TreeMap<>();

  private final List<TemporaryPath> unzipped = new ArrayList<>();
  private int lines;

  /**
   * A file.
   *
   * @param name what messages call it
   * @param plain where its text is
   * @param weight how often each line is drawn in an epoch
   * @param offsets the first byte of each line
   */
  private record Text(String name, Path plain, double weight, ImmutableLongArray offsets) {
    /** So that the lines that are left out of an epoch lie apart: the golden ratio's fraction. */
    private static final double STRIDE = 0.6180339887498949;

    /**
     * Returns how often a line is drawn in an epoch: all in all its weight times the number of
     * epochs, up to one.
     */
    int draws(int line, long epoch) {
      double phase = (line + 1) * STRIDE % 1;
      return (int) (drawn(epoch + 1, phase) - drawn(epoch, phase));
    }

    private double drawn(long epochs, double phase) {
      return Math.floor(epochs * weight + phase);
    }
  }

  /**
   * Reads the files.
   *
   * @throws LlaraException if one cannot be read, or they have more than 2<sup>31</sup> - 1 lines
   */
  LineIndex(Dataset<?> dataset) {
    try {
      for (int i = 0; i < dataset.files().size(); i++) {
        add(dataset.files().get(i), dataset.weight(i));
      }
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  private void add(Path file, double weight) {
    ImmutableLongArray.Builder offsets = ImmutableLongArray.builder();
    long end = lines;
    try (LineReader reader = new LineReader(file)) {
      while (reader.advance()) {
        offsets.add(reader.offset());
        end++;
      }
    }
    if (end > Integer.MAX_VALUE) {
      throw new LlaraException(
          "%s: line %d of the data; %d at most can be drawn from"
              .formatted(file, end, Integer.MAX_VALUE));
    }
    texts.put(lines, new Text(file.toString(), plain(file), weight, offsets.build()));
    lines = (int) end;
  }

  /** Returns a file with the text of one that may be gzipped. */
  private Path plain(Path file) {
    try (InputStream text = LineReader.unzipped(Files.newInputStream(file))) {
      if (!(text instanceof GZIPInputStream)) {
        return file;
      }
      TemporaryPath copy = TemporaryPath.file("llara-lines-");
      unzipped.add(copy);
      Files.copy(text, copy.path(), StandardCopyOption.REPLACE_EXISTING);
      return copy.path();
    } catch (IOException e) {
      throw new LlaraException(
          "%s: cannot be unpacked into %s: %s"
              .formatted(file, System.getProperty("java.io.tmpdir"), e.getMessage()),
          e);
    }
  }

  /**
   * Returns the lines of an epoch, each as often as its file's weight says, in a random order,
   * which depends on the generator alone.
   */
  LineSource shuffled(Random random, long epoch) {
    IntStream.Builder drawn = IntStream.builder();
    texts.forEach(
        (first, text) -> {
          for (int line = 0; line < text.offsets().length(); line++) {
            for (int i = text.draws(line, epoch); i > 0; i--) {
              drawn.add(first + line);
            }
          }
        });
    int[] order = drawn.build().toArray();
    Collections.shuffle(Ints.asList(order), random);
    return new LineSource() {
      private int next;

      @Override
      public @Nullable LineReader next() {
        return next < order.length ? line(order[next++]) : null;
      }

      @Override
      public void close() {
        // Each line's file is closed by the time it is handed out.
      }
    };
  }

  private LineReader line(int number) {
    Map.Entry<Integer, Text> entry = requireNonNull(texts.floorEntry(number));
    Text text = entry.getValue();
    int line = number - entry.getKey();
    LineReader.Source source =
        () -> {
          FileInputStream in = new FileInputStream(text.plain().toFile());
          in.getChannel().position(text.offsets().get(line));
          return in;
        };
    try (LineReader reader = LineReader.startingAfter(text.name(), source, line)) {
      if (!reader.advance()) {
        throw new LlaraException(
            "%s: it had a line %d when it was opened, and has none now"
                .formatted(text.name(), line + 1));
      }
      return reader;
    }
  }

  @Override
  public void close() {
    unzipped.forEach(TemporaryPath::close);
  }
}
