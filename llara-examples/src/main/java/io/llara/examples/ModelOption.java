package io.llara.examples;

import java.nio.file.Path;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The model that a command makes another of. */
final class ModelOption {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description =
          "The model: a Hugging Face directory, which is not changed, or owner/name of the hub.")
  private Path model = Path.of("");

  Path value() {
    model = ((Subcommand) command.userObject()).directory(model);
    return model;
  }
}
