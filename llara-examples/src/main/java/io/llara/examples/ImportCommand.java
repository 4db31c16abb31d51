package io.llara.examples;

import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.gguf.GgufImporter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** A GGUF file in, a Hugging Face directory out. */
@Command(
    name = "import",
    description = {
      "Converts a GGUF file of a LLaMA model into a Hugging Face directory.",
      "",
      "Reads tensors of the types F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q6_K and"
          + " vocabularies of the kinds llama and gpt2; anything else is refused by name. By default"
          + " no precision is lost: matrices of Q8_0 and Q4_0 stay integers, other quantised tensors"
          + " are written as float32. To embed with a model, --model FILE.gguf does without it.",
      ""
    })
final class ImportCommand extends Subcommand {
  @Mixin private ProgressOptions progress = new ProgressOptions();

  @Option(
      names = "--layers",
      paramLabel = "N",
      description = "Import only the first N layers (default: all).")
  private Optional<Integer> layers = Optional.empty();

  @Option(
      names = "--dtype",
      paramLabel = "keep|float32|float16|bfloat16",
      defaultValue = "keep",
      description = "The type to store weights in (default: keep, without loss).")
  private WeightType type = WeightType.KEEP;

  @Parameters(index = "0", paramLabel = "FILE.gguf", description = "The model.")
  private Path file = Path.of("");

  @Parameters(
      index = "1",
      paramLabel = "DIR",
      description = "The directory to write; it must be new or empty.")
  private Path dir = Path.of("");

  /** How weights are written. */
  enum WeightType {
    KEEP,
    FLOAT32,
    FLOAT16,
    BFLOAT16
  }

  @Override
  public Integer call() throws IOException {
    GgufImporter.Builder builder = GgufImporter.builder(file);
    layers.ifPresent(builder::layers);
    switch (type) {
      case FLOAT32 -> builder.weightType(StorageType.F32);
      case FLOAT16 -> builder.weightType(StorageType.F16);
      case BFLOAT16 -> builder.weightType(StorageType.BF16);
      case KEEP -> {}
    }
    GgufImporter importer = builder.build();
    try (ProgressOptions.Bar bar = progress.start(streams(), "importing", -1)) {
      importer.write(dir, bar::progress);
    }
    importer.notes().forEach(streams()::note);
    streams().result(summary(importer));
    return Llara.OK;
  }

  private String summary(GgufImporter importer) throws IOException {
    LlamaConfig config = importer.config();
    return String.format(
        Locale.ROOT,
        "%s: %d of %d layers, hidden %d, %d tokens (%s), %s, %.1f MB of weights",
        dir,
        config.layers(),
        importer.layersInFile(),
        config.hiddenSize(),
        config.vocabularySize(),
        importer.vocabularyKind(),
        importer
            .quantization()
            .map(scheme -> scheme.bits() + " bits")
            .orElseGet(() -> config.torchDtype().orElseThrow()),
        Files.size(dir.resolve("model.safetensors")) / 1e6);
  }
}
