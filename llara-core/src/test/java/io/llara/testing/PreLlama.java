package io.llara.testing;

import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The tiny checkpoint as LLARA's own pretraining writes it, with a slow tokenizer; made by {@code
 * benchmarks/scripts/slow-tokenizer-fixture.py}.
 */
public final class PreLlama {
  private PreLlama() {}

  /** Returns its directory. */
  public static Path dir() {
    Path here = Path.of("src", "test", "resources", "io", "llara", "tokenize", "prellama");
    return Files.isDirectory(here) ? here : Path.of("..", "llara-core").resolve(here);
  }
}
