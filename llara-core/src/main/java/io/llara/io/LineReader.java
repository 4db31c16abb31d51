package io.llara.io;

import com.google.common.base.Utf8;
import com.google.common.collect.AbstractIterator;
import com.google.common.collect.Streams;
import io.llara.LlaraException;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.PushbackInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;
import org.jspecify.annotations.Nullable;

/**
 * Reads a text line by line: UTF-8, with or without a byte order mark, plain or gzipped, which the
 * first bytes tell and not the name. A line ends with {@code \n} or {@code \r\n}. One line that is
 * not text does not hide the next. Not thread-safe.
 */
public final class LineReader implements Closeable {
  /** Far beyond any document; it bounds what a file without line ends, or a gzip bomb, takes. */
  private static final int MAX_LINE_BYTES = 1 << 26;

  private final String name;
  private final int maxLineBytes;
  private final InputStream in;
  private final byte[] buffer = new byte[1 << 16];
  private int position;
  private int limit;
  private ByteArrayOutputStream line = new ByteArrayOutputStream();
  private boolean tooLong;
  private long number;

  /** The bytes that have come out of {@code in}, unzipped. */
  private long read;

  private long offset;

  /** Opens the bytes of a text from their start. */
  public interface Source {
    /** Returns the bytes, which the reader closes. */
    InputStream open() throws IOException;
  }

  /**
   * Opens a file.
   *
   * @throws LlaraException if it cannot be opened, or is gzip data that is damaged
   */
  public LineReader(Path file) {
    this(file.toString(), () -> Files.newInputStream(file));
  }

  /**
   * Opens a text.
   *
   * @param name what messages call it
   * @throws LlaraException as {@link #LineReader(Path)}
   */
  public LineReader(String name, Source source) {
    this(name, source, MAX_LINE_BYTES);
  }

  /**
   * Opens a plain text in its middle.
   *
   * @param source the text from the beginning of a line on
   * @param linesBefore how many lines lie before that one
   * @throws LlaraException as {@link #LineReader(Path)}
   */
  public static LineReader startingAfter(String name, Source source, long linesBefore) {
    LineReader reader = new LineReader(name, source);
    reader.number = linesBefore;
    return reader;
  }

  LineReader(String name, Source source, int maxLineBytes) {
    this.name = name;
    this.maxLineBytes = maxLineBytes;
    try {
      this.in = unzipped(source.open());
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  /**
   * Opens a file that a user named.
   *
   * @param expected what the file should be, for the message when there is none
   * @throws LlaraException if there is none, or as {@link #LineReader(Path)}
   */
  public static LineReader open(Path file, String expected) {
    requireFile(file, expected);
    return new LineReader(file);
  }

  /**
   * Fails unless a file is there.
   *
   * @param expected what the file should be, for the message
   * @throws LlaraException if there is none, or it is a directory
   */
  public static void requireFile(Path file, String expected) {
    if (!Files.exists(file) || Files.isDirectory(file)) {
      throw new LlaraException(
          "%s: %s; expected %s"
              .formatted(file, Files.exists(file) ? "is a directory" : "does not exist", expected));
    }
  }

  /** Returns the bytes of a text, unzipped if they are gzipped; closes them if it fails. */
  public static InputStream unzipped(InputStream bytes) throws IOException {
    try {
      PushbackInputStream peeked = new PushbackInputStream(bytes, 2);
      byte[] magic = peeked.readNBytes(2);
      peeked.unread(magic);
      boolean zipped =
          magic.length == 2
              && ((magic[0] & 0xFF) | (magic[1] & 0xFF) << 8) == GZIPInputStream.GZIP_MAGIC;
      return zipped ? new GZIPInputStream(peeked, 1 << 16) : peeked;
    } catch (IOException e) {
      bytes.close();
      throw e;
    }
  }

  /**
   * Goes to the next line and returns whether there is one.
   *
   * @throws LlaraException if the text cannot be read on, gzip data that ends too early among it
   */
  public boolean advance() {
    line.reset();
    offset = read - limit + position;
    tooLong = false;
    boolean begun = false;
    while (position < limit || refill()) {
      begun = true;
      int end = position;
      while (end < limit && buffer[end] != '\n') {
        end++;
      }
      append(end);
      position = end;
      if (end < limit) {
        position++;
        break;
      }
    }
    if (begun) {
      number++;
    }
    return begun;
  }

  /**
   * Goes to the next line that is not blank and returns whether there is one.
   *
   * @throws LlaraException as {@link #advance} and {@link #line}
   */
  public boolean advanceToText() {
    while (advance()) {
      if (!line().isBlank()) {
        return true;
      }
    }
    return false;
  }

  private boolean refill() {
    try {
      position = 0;
      limit = Math.max(0, in.read(buffer));
      read += limit;
      return limit > 0;
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  private void append(int end) {
    int length = end - position;
    if (tooLong || length > maxLineBytes - line.size()) {
      tooLong = true;
      line = new ByteArrayOutputStream();
    } else {
      line.write(buffer, position, length);
    }
  }

  /** Returns the number of the line, the first being 1. */
  public long number() {
    return number;
  }

  /** Returns where the line begins, in bytes from the start of the unzipped text. */
  public long offset() {
    return offset;
  }

  /** Returns text and line as messages name them: {@code data.jsonl:7}. */
  public String place() {
    return name + ":" + number;
  }

  /**
   * Returns the line without its end.
   *
   * @throws LlaraException if it is not UTF-8, or longer than 64 MiB; names the line
   */
  public String line() {
    if (tooLong) {
      throw error("has more than " + maxLineBytes + " bytes");
    }
    byte[] bytes = line.toByteArray();
    if (!Utf8.isWellFormed(bytes)) {
      throw error("is not UTF-8 text");
    }
    int end = bytes.length;
    if (end > 0 && bytes[end - 1] == '\r') {
      end--;
    }
    String text = new String(bytes, 0, end, StandardCharsets.UTF_8);
    return number == 1 && text.startsWith("\uFEFF") ? text.substring(1) : text;
  }

  /**
   * Returns the JSON object that the line must be.
   *
   * @throws LlaraException if it is something else; names the line
   */
  public JsonSection json() {
    return StrictJson.line(line(), place());
  }

  /** Returns the lines that are still to come; closing the stream closes this. */
  public Stream<String> lines() {
    Iterator<String> lines =
        new AbstractIterator<>() {
          @Override
          protected @Nullable String computeNext() {
            return advance() ? line() : endOfData();
          }
        };
    return Streams.stream(lines).onClose(this::close);
  }

  /** Returns an error about the line; {@code what} goes on from its number. */
  public LlaraException error(String what) {
    return new LlaraException(place() + ": " + what);
  }

  private LlaraException unreadable(IOException e) {
    String where = number == 0 ? "" : " after line " + number;
    String reason;
    if (e instanceof EOFException) {
      reason = "its gzip data ends too early: the file is not whole";
    } else if (e instanceof ZipException) {
      reason = "its gzip data is damaged: " + e.getMessage();
    } else {
      reason = Messages.reason(e);
    }
    return new LlaraException("%s: cannot be read%s: %s".formatted(name, where, reason), e);
  }

  @Override
  public void close() {
    try {
      in.close();
    } catch (IOException e) {
      throw unreadable(e);
    }
  }
}
