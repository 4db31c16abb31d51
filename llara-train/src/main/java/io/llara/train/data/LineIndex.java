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
   * @param offsets the first byte of each line
   */
  private record Text(String name, Path plain, ImmutableLongArray offsets) {}

  /**
   * Reads the files.
   *
   * @throws LlaraException if one cannot be read, or they have more than 2<sup>31</sup> - 1 lines
   */
  LineIndex(List<Path> files) {
    try {
      files.forEach(this::add);
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  private void add(Path file) {
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
    texts.put(lines, new Text(file.toString(), plain(file), offsets.build()));
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

  /** Returns all lines in a random order, which depends on the generator alone. */
  LineSource shuffled(Random random) {
    int[] order = IntStream.range(0, lines).toArray();
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
