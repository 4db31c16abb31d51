package io.llara.testing;

import java.nio.file.Files;
import java.nio.file.Path;

/** The small pretrained LLaMA among the test resources. */
public final class Stories {
  private Stories() {}

  /** Returns its directory. */
  public static Path dir() {
    Path here = Path.of("src", "test", "resources", "stories260k");
    return Files.isDirectory(here) ? here : Path.of("..", "llara-core").resolve(here);
  }
}
