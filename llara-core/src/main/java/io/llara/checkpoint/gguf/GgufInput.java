package io.llara.checkpoint.gguf;

import io.llara.ModelLoadException;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * Reads the numbers and strings of a GGUF header one after another. Nothing is allocated before it
 * is known that the file has as many bytes. Every error names what was being read.
 */
final class GgufInput {
  private static final int BUFFER_BYTES = 1 << 16;

  private final Path file;
  private final FileChannel channel;
  private final long size;
  private final long limit;
  private final ByteBuffer buffer = ByteBuffer.allocate(BUFFER_BYTES);

  /** What is being read, for messages. */
  private String where = "the header";

  GgufInput(Path file, FileChannel channel, long maxBytes) throws IOException {
    this.file = file;
    this.channel = channel;
    this.size = channel.size();
    this.limit = maxBytes;
    buffer.order(ByteOrder.LITTLE_ENDIAN).limit(0);
  }

  /** Says what is read next. */
  void at(String what) {
    where = what;
  }

  long fileSize() {
    return size;
  }

  /** Returns how many bytes of the file have been read. */
  long position() throws IOException {
    return channel.position() - buffer.remaining();
  }

  int u8() throws IOException {
    return Byte.toUnsignedInt(next(1).get());
  }

  long u32() throws IOException {
    return Integer.toUnsignedLong(next(4).getInt());
  }

  /** Reads eight bytes; numbers from 2^63 on come out negative. */
  long u64() throws IOException {
    return next(8).getLong();
  }

  /** Reads a string with its length before it. */
  String string(int maxBytes) throws IOException {
    long length = u64();
    if (length < 0 || length > maxBytes) {
      throw problem(
          "is said to have a string of %s bytes; expected at most %d"
              .formatted(Long.toUnsignedString(length), maxBytes));
    }
    if (length == 0) {
      return "";
    }
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(bytes(length)).toString();
    } catch (CharacterCodingException e) {
      throw new ModelLoadException(
          "%s: %s has a string that is not UTF-8 text".formatted(file, where), e);
    }
  }

  /** Reads so many bytes. */
  ByteBuffer bytes(long count) throws IOException {
    require(count);
    ByteBuffer bytes = ByteBuffer.allocate((int) count).order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      if (!buffer.hasRemaining()) {
        refill(1);
      }
      int part = Math.min(bytes.remaining(), buffer.remaining());
      bytes.put(buffer.slice(buffer.position(), part));
      buffer.position(buffer.position() + part);
    }
    return bytes.flip();
  }

  /** Fails unless so many more bytes can be read. */
  void require(long count) throws IOException {
    long position = position();
    if (count > size - position) {
      throw problem(
          "needs %d more bytes but only %d follow; the file is truncated or damaged"
              .formatted(count, size - position));
    }
    if (count > limit - position) {
      throw problem(
          "makes the header longer than %d bytes, the limit of this reader".formatted(limit));
    }
  }

  ModelLoadException problem(String what) {
    return new ModelLoadException("%s: %s %s".formatted(file, where, what));
  }

  private ByteBuffer next(int count) throws IOException {
    if (buffer.remaining() < count) {
      require(count);
      refill(count);
    }
    return buffer;
  }

  private void refill(int count) throws IOException {
    buffer.compact();
    while (buffer.position() < count) {
      if (channel.read(buffer) < 0) {
        throw new EOFException("the file became shorter while it was read");
      }
    }
    buffer.flip();
  }
}
