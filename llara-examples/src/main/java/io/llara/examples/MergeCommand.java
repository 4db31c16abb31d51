package io.llara.examples;

import io.llara.train.checkpoint.ModelConverter;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A model and an adapter in, one model out. */
@Command(
    name = "merge",
    description = {
      "Merges a LoRA adapter (PEFT) into a model.",
      "",
      "The weights are stored in the type that the model has them in.",
      ""
    })
final class MergeCommand extends Subcommand {
  @Mixin private ModelOption model = new ModelOption();

  @Option(
      names = "--adapter",
      required = true,
      paramLabel = "DIR",
      description = "The adapter: a directory with adapter_model.safetensors.")
  private Path adapter = Path.of("");

  @Mixin private NewDirectoryOption out = new NewDirectoryOption();

  @Override
  public Integer call() {
    ModelConverter.merge(model.value(), adapter, out.value());
    streams().result("%s: %s with %s".formatted(out.value(), model.value(), adapter));
    return Llara.OK;
  }
}
