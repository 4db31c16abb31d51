package io.llara.examples;

import java.nio.file.Path;

/** Where programs may keep what they can make again. */
final class UserCache {
  private UserCache() {}

  /** Returns this program's directory in the user's cache; it need not exist. */
  static Path directory() {
    String base = System.getenv("XDG_CACHE_HOME");
    // The specification says to ignore relative paths.
    Path parent =
        base != null && Path.of(base).isAbsolute()
            ? Path.of(base)
            : Path.of(System.getProperty("user.home"), ".cache");
    return parent.resolve("llara");
  }
}
