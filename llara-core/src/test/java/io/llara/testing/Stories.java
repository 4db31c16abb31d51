package io.llara.testing;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** The small pretrained LLaMA among the test resources. */
public final class Stories {
  private Stories() {}

  /** Returns its directory. */
  public static Path dir() {
    Path here = Path.of("src", "test", "resources", "stories260k");
    return Stream.of("", "../llara-core", "../../llara-core")
        .map(module -> Path.of(module).resolve(here))
        .filter(Files::isDirectory)
        .findFirst()
        .orElseThrow();
  }
}
