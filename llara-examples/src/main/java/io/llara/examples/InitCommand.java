package io.llara.examples;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.TensorEntry;
import io.llara.train.checkpoint.ModelInitializer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A configuration and a tokenizer in, a model with random weights out. */
@Command(
    name = "init",
    description = {
      "Creates a model with random weights, to be trained from scratch.",
      "",
      "Train such a model with llara pretrain --recipe lm first.",
      ""
    })
final class InitCommand extends Subcommand {
  @Mixin private SeedOption seed = new SeedOption();

  @Option(
      names = "--config",
      required = true,
      paramLabel = "FILE",
      description = "The config.json of a LLaMA, which gives the model its shape.")
  private Path config = Path.of("");

  @Option(
      names = "--tokenizer",
      required = true,
      paramLabel = "DIR",
      description = "A directory with the tokenizer's files, which are copied.")
  private Path tokenizer = Path.of("");

  @Option(
      names = "--vocab",
      paramLabel = "N",
      description = "Truncate the vocabulary to N tokens (default: keep it whole).")
  private Optional<Integer> vocabulary = Optional.empty();

  @Mixin private NewDirectoryOption out = new NewDirectoryOption();

  @Override
  public Integer call() {
    ModelInitializer.create(
        config,
        tokenizer,
        vocabulary.map(OptionalInt::of).orElse(OptionalInt.empty()),
        seed.value(),
        out.value());
    streams().result(summary(out.value()));
    return Llara.OK;
  }

  /** Says how large a model is. */
  static String summary(Path dir) {
    CheckpointDirectory model = CheckpointDirectory.open(dir);
    LlamaConfig made = model.config();
    long parameters =
        model.tensors().values().stream()
            .map(TensorEntry::shape)
            .mapToLong(shape -> Arrays.stream(shape).reduce(1, (a, b) -> a * b))
            .sum();
    return String.format(
        Locale.ROOT,
        "%s: %d layers, hidden %d, %d tokens, %.2f million parameters",
        dir,
        made.layers(),
        made.hiddenSize(),
        made.vocabularySize(),
        parameters / 1e6);
  }
}
