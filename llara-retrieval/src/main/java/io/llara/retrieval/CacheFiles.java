package io.llara.retrieval;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.ThreadLocalRandom;

/** Names of files that are filled bit by bit, so that a name means a complete file or none. */
final class CacheFiles {
  private CacheFiles() {}

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
