package io.llara.retrieval;

import io.llara.Internal;
import io.llara.LlaraException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PushbackInputStream;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPInputStream;

/**
 * One pass over the lines of a text, plain or gzipped, UTF-8; blank ones are passed over. It knows
 * how messages name the line.
 */
@Internal
public final class TextLines implements AutoCloseable {
  private final String name;
  private final BufferedReader reader;
  private long number;
  private String line = "";

  /**
   * Opens a text.
   *
   * @param name what messages call it
   * @throws LlaraException if it cannot be opened
   */
  public TextLines(String name, Corpus.Source source) {
    this.name = name;
    try {
      InputStream bytes = source.open();
      try {
        reader =
            new BufferedReader(
                new InputStreamReader(
                    unzipped(bytes),
                    // A decoder of its own reports malformed bytes instead of replacing them.
                    StandardCharsets.UTF_8.newDecoder()));
      } catch (IOException e) {
        bytes.close();
        throw e;
      }
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  /**
   * Opens a file.
   *
   * @param expected what the file should be, for the message when there is none
   * @throws LlaraException if it cannot be opened
   */
  public static TextLines of(Path file, String expected) {
    requireFile(file, expected);
    return new TextLines(file.toString(), () -> Files.newInputStream(file));
  }

  static void requireFile(Path file, String expected) {
    if (!Files.exists(file) || Files.isDirectory(file)) {
      throw new LlaraException(
          "%s: %s; expected %s"
              .formatted(file, Files.exists(file) ? "is a directory" : "does not exist", expected));
    }
  }

  /** Looks at the bytes rather than at the name. */
  private static InputStream unzipped(InputStream bytes) throws IOException {
    PushbackInputStream peeked = new PushbackInputStream(bytes, 2);
    byte[] magic = peeked.readNBytes(2);
    peeked.unread(magic);
    boolean zipped =
        magic.length == 2
            && (magic[0] & 0xFF) == (GZIPInputStream.GZIP_MAGIC & 0xFF)
            && (magic[1] & 0xFF) == GZIPInputStream.GZIP_MAGIC >> 8;
    return zipped ? new GZIPInputStream(peeked, 1 << 16) : peeked;
  }

  /**
   * Goes to the next line and returns whether there is one.
   *
   * @throws LlaraException if the text cannot be read on, or is not UTF-8
   */
  public boolean advance() {
    try {
      String next;
      do {
        number++;
        next = reader.readLine();
        if (number == 1 && next != null && next.startsWith("\uFEFF")) {
          next = next.substring(1);
        }
      } while (next != null && next.isBlank());
      line = next == null ? "" : next;
      return next != null;
    } catch (CharacterCodingException e) {
      throw wrong("is not UTF-8", e);
    } catch (IOException e) {
      throw unreadable(e);
    }
  }

  /** Returns the line, without its end. */
  public String line() {
    return line;
  }

  /** Returns the number of the line; the text's first is 1. */
  public long number() {
    return number;
  }

  /**
   * Returns an exception that names the line.
   *
   * @param what goes on from "line 7"
   */
  public LlaraException wrong(String what) {
    return new LlaraException(place(what));
  }

  /** Returns an exception that names the line, and the cause. */
  public LlaraException wrong(String what, Throwable cause) {
    return new LlaraException(place(what), cause);
  }

  private String place(String what) {
    return "%s: line %d %s".formatted(name, number, what);
  }

  private LlaraException unreadable(IOException e) {
    return new LlaraException("%s: cannot be read: %s".formatted(name, e.getMessage()), e);
  }

  @Override
  public void close() {
    try {
      reader.close();
    } catch (IOException e) {
      throw unreadable(e);
    }
  }
}
