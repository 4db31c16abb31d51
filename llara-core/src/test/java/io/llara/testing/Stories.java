package io.llara.testing;

import java.nio.file.Path;

/** The small pretrained LLaMA among the test resources. */
public final class Stories {
  private Stories() {}

  /** Returns its directory. */
  public static Path dir() {
    return Path.of("src", "test", "resources", "stories260k");
  }
}
