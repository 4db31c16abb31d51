package io.llara.train.data;

import com.google.common.base.Ascii;
import io.llara.LlaraException;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * Reads a file line by line as bytes, so that one line that is no text does not hide the next. A
 * name that ends in {@code .gz} is unpacked on the way.
 */
final class LineReader implements Closeable {
  /** Far beyond any document; it bounds what a file without line ends, or a packed bomb, takes. */
  private static final int MOST_LINE_BYTES = 1 << 26;

  private static final byte[] BYTE_ORDER_MARK = {(byte) 0xEF, (byte) 0xBB, (byte) 0xBF};

  private final Path file;
  private final int mostLineBytes;
  private final InputStream in;
  private final byte[] buffer = new byte[1 << 16];
  private int position;
  private int limit;
  private ByteArrayOutputStream line = new ByteArrayOutputStream();
  private boolean tooLong;
  private long number;

  /**
   * Opens a file.
   *
   * @throws LlaraException if it cannot be opened, or should be gzip data and is not
   */
  LineReader(Path file) {
    this(file, MOST_LINE_BYTES);
  }

  LineReader(Path file, int mostLineBytes) {
    this.file = file;
    this.mostLineBytes = mostLineBytes;
    try {
      this.in = open(file);
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  private static InputStream open(Path file) throws IOException {
    InputStream raw = Files.newInputStream(file);
    if (!Ascii.toLowerCase(file.toString()).endsWith(".gz")) {
      return raw;
    }
    try {
      return new GZIPInputStream(raw, 1 << 16);
    } catch (IOException e) {
      raw.close();
      throw e;
    }
  }

  /**
   * Goes to the next line and returns whether there is one.
   *
   * @throws LlaraException if the file cannot be read on, a gzip file that ends too early among
   *     them
   */
  boolean advance() {
    line.reset();
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

  private boolean refill() {
    try {
      position = 0;
      limit = Math.max(0, in.read(buffer));
      return limit > 0;
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  private void append(int end) {
    int length = end - position;
    if (tooLong || length > mostLineBytes - line.size()) {
      tooLong = true;
      line = new ByteArrayOutputStream();
    } else {
      line.write(buffer, position, length);
    }
  }

  /** Returns the number of the line, the first being 1. */
  long number() {
    return number;
  }

  /** Returns the line without its end. */
  byte[] bytes() throws BadLineException {
    if (tooLong) {
      throw new BadLineException("has more than " + mostLineBytes + " bytes");
    }
    byte[] bytes = line.toByteArray();
    int mark = BYTE_ORDER_MARK.length;
    boolean marked =
        number == 1
            && bytes.length >= mark
            && Arrays.equals(bytes, 0, mark, BYTE_ORDER_MARK, 0, mark);
    return marked ? Arrays.copyOfRange(bytes, mark, bytes.length) : bytes;
  }

  private LlaraException unreadable(IOException e) {
    String where = number == 0 ? "" : " after line " + number;
    String reason;
    if (e instanceof NoSuchFileException) {
      reason = "no such file";
    } else if (e instanceof AccessDeniedException) {
      reason = "access denied";
    } else if (e instanceof EOFException) {
      reason = "its gzip data ends too early: the file is not whole";
    } else if (e instanceof ZipException) {
      reason = "its gzip data is damaged, or none: " + e.getMessage();
    } else {
      reason = String.valueOf(e.getMessage());
    }
    return new LlaraException("%s: cannot be read%s: %s".formatted(file, where, reason), e);
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
