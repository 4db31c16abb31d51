package io.llara.examples;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.TensorEntry;
import io.llara.train.checkpoint.ModelInitializer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A configuration and a tokenizer in, a model with random weights out. */
@Command(
    name = "init",
    description = {
      "Makes a model with random weights, to be trained from scratch.",
      "",
      "The first training of such a model is llara pretrain --recipe lm.",
      ""
    })
final class InitCommand implements Callable<Integer> {
  private final Streams streams;

  @Mixin private SeedOption seed = new SeedOption();

  @Option(
      names = "--config",
      required = true,
      paramLabel = "FILE",
      description = "The config.json of a LLaMA: what shape the model has.")
  private Path config = Path.of("");

  @Option(
      names = "--tokenizer",
      required = true,
      paramLabel = "DIR",
      description = "A directory with the tokenizer's files; they are copied.")
  private Path tokenizer = Path.of("");

  @Option(
      names = "--vocab",
      paramLabel = "N",
      description = "Cut the tokenizer to N tokens (default: take it as it is).")
  private @Nullable Integer vocabulary;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "The directory to make; it must be new or empty.")
  private Path out = Path.of("");

  InitCommand(Streams streams) {
    this.streams = streams;
  }

  @Override
  public Integer call() {
    ModelInitializer.create(
        config,
        tokenizer,
        vocabulary == null ? OptionalInt.empty() : OptionalInt.of(vocabulary),
        seed.value(),
        out);
    try (Results results = new Results(streams.out())) {
      results.line(summary(CheckpointDirectory.open(out)));
    }
    return Llara.OK;
  }

  private String summary(CheckpointDirectory model) {
    LlamaConfig made = model.config();
    long parameters =
        model.tensors().values().stream()
            .map(TensorEntry::shape)
            .mapToLong(shape -> Arrays.stream(shape).reduce(1, (a, b) -> a * b))
            .sum();
    return String.format(
        Locale.ROOT,
        "%s: %d layers, hidden %d, %d tokens, %.2f million parameters",
        out,
        made.layers(),
        made.hiddenSize(),
        made.vocabularySize(),
        parameters / 1e6);
  }
}
