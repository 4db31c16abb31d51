package io.llara.checkpoint.gguf;

import com.google.common.base.Utf8;
import com.google.common.io.CountingInputStream;
import io.llara.ModelLoadException;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Reads the numbers and strings of a GGUF header one after another. Nothing is allocated before it
 * is known that the file has as many bytes. Every error names what was being read.
 */
final class GgufInput implements AutoCloseable {
  private final Path file;
  private final CountingInputStream in;
  private final long size;
  private final long limit;

  /** What is being read, for messages. */
  private String where = "the header";

  GgufInput(Path file, long maxBytes) throws IOException {
    this.file = file;
    this.size = Files.size(file);
    this.limit = maxBytes;
    this.in = new CountingInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 16));
  }

  /** Says what is read next. */
  void at(String what) {
    where = what;
  }

  long fileSize() {
    return size;
  }

  /** Returns how many bytes of the file have been read. */
  long position() {
    return in.getCount();
  }

  /** Reads an unsigned number of up to eight bytes; those from 2^63 on come out negative. */
  long number(int bytes) throws IOException {
    byte[] littleEndian = bytes(bytes);
    long number = 0;
    for (int i = bytes - 1; i >= 0; i--) {
      number = number << 8 | Byte.toUnsignedInt(littleEndian[i]);
    }
    return number;
  }

  /** Reads a number of eight bytes that counts something. */
  int count(String what, int max) throws IOException {
    long count = number(8);
    if (count < 0 || count > max) {
      throw problem(
          "%s %s; expected at most %d".formatted(what, Long.toUnsignedString(count), max));
    }
    return (int) count;
  }

  /** Reads a string with its length before it. */
  String string(int maxBytes) throws IOException {
    byte[] bytes = bytes(count("has a string whose length in bytes is", maxBytes));
    if (!Utf8.isWellFormed(bytes)) {
      throw problem("has a string that is not UTF-8 text");
    }
    return new String(bytes, StandardCharsets.UTF_8);
  }

  /** Fails unless so many more bytes can be read. */
  void require(long count) {
    if (count > size - position()) {
      throw problem(
          "needs %d more bytes but only %d follow; the file is truncated or damaged"
              .formatted(count, size - position()));
    }
    if (count > limit - position()) {
      throw problem(
          "makes the header longer than %d bytes, the limit of this reader".formatted(limit));
    }
  }

  ModelLoadException problem(String what) {
    return new ModelLoadException("%s: %s %s".formatted(file, where, what));
  }

  private byte[] bytes(int count) throws IOException {
    require(count);
    byte[] bytes = in.readNBytes(count);
    if (bytes.length < count) {
      throw new EOFException("the file became shorter while it was read");
    }
    return bytes;
  }

  @Override
  public void close() throws IOException {
    in.close();
  }
}
