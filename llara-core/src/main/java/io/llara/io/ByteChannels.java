package io.llara.io;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;

/** Reads and writes that are whole or fail. */
public final class ByteChannels {
  private static final int CHUNK_BYTES = 1 << 20;

  private ByteChannels() {}

  /** Writes all bytes that a buffer has left. */
  public static void writeFully(WritableByteChannel out, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      out.write(bytes);
    }
  }

  /**
   * Fills what a buffer has left with the bytes of a file from an offset on.
   *
   * @throws EOFException if the file has fewer
   */
  public static void readFully(FileChannel in, long offset, ByteBuffer bytes) throws IOException {
    for (long at = offset; bytes.hasRemaining(); ) {
      int read = in.read(bytes, at);
      if (read < 0) {
        throw new EOFException("the file ends too early");
      }
      at += read;
    }
  }

  /**
   * Copies a part of a file.
   *
   * @throws EOFException if the file has fewer bytes
   */
  public static void copy(FileChannel in, long offset, long length, WritableByteChannel out)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocateDirect((int) Math.min(CHUNK_BYTES, length));
    for (long done = 0; done < length; done += buffer.limit()) {
      buffer.clear().limit((int) Math.min(buffer.capacity(), length - done));
      readFully(in, offset + done, buffer);
      writeFully(out, buffer.flip());
    }
  }
}
