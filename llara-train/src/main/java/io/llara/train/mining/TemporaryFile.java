package io.llara.train.mining;

import io.llara.LlaraException;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** A file that goes away when it is closed, or with the process. */
final class TemporaryFile implements Closeable {
  private final Path path;

  TemporaryFile() {
    try {
      path = Files.createTempFile("llara-mining", ".tmp");
      // An interrupt from the keyboard ends the JVM without "finally".
      path.toFile().deleteOnExit();
    } catch (IOException e) {
      throw new LlaraException("a temporary file cannot be made: " + e, e);
    }
  }

  Path path() {
    return path;
  }

  /** Returns the error of a write or read that failed. */
  LlaraException failed(IOException e) {
    return new LlaraException("%s: cannot be written or read: %s".formatted(path, e), e);
  }

  @Override
  public void close() {
    try {
      Files.deleteIfExists(path);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be deleted: %s".formatted(path, e), e);
    }
  }
}
