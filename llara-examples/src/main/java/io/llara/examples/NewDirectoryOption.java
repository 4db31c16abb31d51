package io.llara.examples;

import java.nio.file.Path;
import picocli.CommandLine.Option;

/** Where a command makes a model. */
final class NewDirectoryOption {
  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "The directory to write; it must be new or empty.")
  private Path out = Path.of("");

  Path value() {
    return out;
  }
}
