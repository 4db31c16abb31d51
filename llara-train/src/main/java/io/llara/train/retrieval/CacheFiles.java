package io.llara.train.retrieval;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.ThreadLocalRandom;

/** Writes files of a cache so that a name means a complete file or none. */
final class CacheFiles {
  private CacheFiles() {}

  /** Writes the content of a file. */
  interface Content {
    void writeTo(OutputStream out) throws IOException;
  }

  static void write(Path target, Content content) throws IOException {
    Path aside = aside(target);
    try {
      try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(aside))) {
        content.writeTo(out);
      }
      publish(aside, target);
    } finally {
      Files.deleteIfExists(aside);
    }
  }

  /** Returns a new name beside the target; its directory is made. */
  static Path aside(Path target) throws IOException {
    Files.createDirectories(target.getParent());
    String unique = Long.toUnsignedString(ThreadLocalRandom.current().nextLong(), 36);
    Path aside = target.resolveSibling("." + target.getFileName() + "." + unique + ".tmp");
    // An interrupt from the keyboard ends the JVM without "finally".
    aside.toFile().deleteOnExit();
    return aside;
  }

  static void publish(Path aside, Path target) throws IOException {
    Files.move(aside, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }
}
