package io.llara.examples;

import io.llara.checkpoint.StorageType;
import io.llara.train.checkpoint.ModelConverter;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A model in, the same in another floating type out. */
@Command(
    name = "convert",
    description = {
      "Copies a model in a floating type.",
      "",
      "A quantised model, such as the default encoder, can be trained further then; what rounding",
      "cost it is not undone.",
      ""
    })
final class ConvertCommand extends Subcommand {
  @Mixin private ModelOption model = new ModelOption();

  @Mixin private NewDirectoryOption out = new NewDirectoryOption();

  @Option(
      names = "--dtype",
      paramLabel = "float32|float16|bfloat16",
      defaultValue = "float32",
      description = "The type to store weights in (default: ${DEFAULT-VALUE}).")
  private FloatingType type = FloatingType.FLOAT32;

  @Option(
      names = "--without-dense",
      description = {
        "Leave out the linear layer behind the pooling, with which a model cannot be trained. One of",
        "llara rotate only turns vectors: their cosines are the same without it."
      })
  private boolean withoutDense;

  /** How weights are stored. */
  enum FloatingType {
    FLOAT32(StorageType.F32),
    FLOAT16(StorageType.F16),
    BFLOAT16(StorageType.BF16);

    private final StorageType stored;

    FloatingType(StorageType stored) {
      this.stored = stored;
    }
  }

  @Override
  public Integer call() {
    ModelConverter.convert(model.value(), out.value(), type.stored, !withoutDense);
    streams().result(InitCommand.summary(out.value()));
    return Llara.OK;
  }
}
