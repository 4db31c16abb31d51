package io.llara.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;

/** The folder of shared test data that lies beside a checkout; not on a user's machine. */
public final class Shared {
  private Shared() {}

  /** Returns the folder, or skips the calling test visibly when there is none. */
  public static Path require() {
    Path dir = dir();
    assumeTrue(
        Files.isDirectory(dir),
        () -> "needs the shared test data at " + dir.toAbsolutePath().normalize());
    return dir;
  }

  private static Path dir() {
    String property = System.getProperty("llara.shared", "");
    if (!property.isBlank()) {
      return Path.of(property);
    }
    // Surefire runs in the module's folder, an IDE often in the project's.
    Path fromModule = Path.of("..", "..", "shared");
    return Files.isDirectory(fromModule) ? fromModule : Path.of("..", "shared");
  }
}
