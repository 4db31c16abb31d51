package io.llara.examples;

import io.llara.LlaraException;
import io.llara.io.Messages;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/**
 * A command's results: lines of UTF-8, or bytes. A reader that goes away, as {@code head} does, is
 * not an error: what it does not read is dropped. A full disk is one.
 */
final class Results implements AutoCloseable {
  private final OutputStream out;
  private boolean readerGone;

  Results(OutputStream out) {
    this.out = new BufferedOutputStream(out, 1 << 16);
  }

  /** Returns whether the reader has gone away. */
  boolean readerGone() {
    return readerGone;
  }

  void line(String line) {
    bytes((line + "\n").getBytes(StandardCharsets.UTF_8));
  }

  void bytes(byte[] bytes) {
    attempt(() -> out.write(bytes));
  }

  void flush() {
    attempt(out::flush);
  }

  @Override
  public void close() {
    flush();
  }

  /** A write that may fail. */
  private interface Write {
    void run() throws IOException;
  }

  private void attempt(Write write) {
    if (readerGone) {
      return;
    }
    try {
      write.run();
    } catch (IOException e) {
      // Only the message tells a closed pipe from other errors.
      if (!String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT).contains("pipe")) {
        throw new LlaraException("the output cannot be written: " + Messages.reason(e), e);
      }
      readerGone = true;
    }
  }
}
