package io.llara.examples;

import io.llara.LlaraException;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/**
 * Standard output: lines of UTF-8. A reader that goes away, as {@code head} does, is no error: what
 * it does not read is dropped. A full disk is one.
 */
final class Results implements AutoCloseable {
  private final OutputStream out;
  private boolean readerGone;

  Results(OutputStream out) {
    this.out = new BufferedOutputStream(out, 1 << 16);
  }

  /** Returns whether nobody reads any more. */
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
      // Java tells a closed pipe from other errors by its message only.
      if (!String.valueOf(e.getMessage()).toLowerCase(Locale.ROOT).contains("pipe")) {
        throw new LlaraException("the output cannot be written: " + e.getMessage(), e);
      }
      readerGone = true;
    }
  }
}
