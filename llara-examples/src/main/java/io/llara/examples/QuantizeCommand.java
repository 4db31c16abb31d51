package io.llara.examples;

import io.llara.BlankTexts;
import io.llara.checkpoint.Quantization;
import io.llara.train.checkpoint.ModelQuantizer;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A model in, the same with smaller weights out. */
@Command(
    name = "quantize",
    description = {
      "Makes a smaller copy of a model: matrices as integers of four or eight bits.",
      "",
      "The files are those of the compressed-tensors format. They are computed with in the type of",
      "--dtype, as other models are.",
      ""
    })
final class QuantizeCommand extends Subcommand {
  @Mixin private ModelOption model = new ModelOption();

  @Mixin private NewDirectoryOption out = new NewDirectoryOption();

  @Option(
      names = "--bits",
      paramLabel = "4|8",
      defaultValue = "8",
      description = "The bits of a weight (default: ${DEFAULT-VALUE}).")
  private int bits = 8;

  @Option(
      names = "--embedding-bits",
      paramLabel = "4|8",
      defaultValue = "8",
      description = "Those of the embedding matrix (default: ${DEFAULT-VALUE}).")
  private int embeddingBits = 8;

  @Option(
      names = "--group",
      paramLabel = "N",
      defaultValue = "32",
      description =
          "How many neighbours in a row share a scale; 0 for whole rows (default: ${DEFAULT-VALUE}).")
  private int group = 32;

  @Option(
      names = "--shard-mb",
      paramLabel = "N",
      defaultValue = "5000",
      description = "The largest file of weights, in megabytes (default: ${DEFAULT-VALUE}).")
  private int shardMegabytes = 5000;

  @Option(
      names = "--texts",
      paramLabel = "FILE",
      description = {
        "Texts to calibrate with, one a line, - for standard input: a few hundred of the kind that",
        "the model will embed. They keep vectors closer to the model's (default: none)."
      })
  private Optional<String> texts = Optional.empty();

  @Override
  public Integer call() {
    if (shardMegabytes < 1) {
      throw usageError("--shard-mb is " + shardMegabytes + "; expected 1 or more");
    }
    Quantization quantization;
    try {
      quantization = new Quantization(bits, embeddingBits, group);
    } catch (IllegalArgumentException e) {
      throw usageError("--bits, --embedding-bits and --group: " + e.getMessage());
    }
    ModelQuantizer.write(
        model.value(), out.value(), quantization, shardMegabytes * 1_000_000L, calibration());
    streams().result("%s: %s in %d bits".formatted(out.value(), model.value(), bits));
    return Llara.OK;
  }

  private List<String> calibration() {
    if (texts.isEmpty()) {
      return List.of();
    }
    try (TextLines lines = TextLines.open(texts.get(), streams().in(), BlankTexts.SKIP);
        Stream<String> all = lines.texts()) {
      return all.toList();
    }
  }
}
