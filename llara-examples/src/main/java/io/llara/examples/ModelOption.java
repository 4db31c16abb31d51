package io.llara.examples;

import java.nio.file.Path;
import picocli.CommandLine.Option;

/** The model that a command makes another of. */
final class ModelOption {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "The model: a Hugging Face directory, which is not changed.")
  private Path model = Path.of("");

  Path value() {
    return model;
  }
}
