package io.llara.examples;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.EncoderStatistics;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options of all commands that encode texts. */
final class EncoderOptions {
  @Option(
      names = "--adapter",
      paramLabel = "DIR",
      description = "A LoRA adapter (PEFT) to merge into the model.")
  private @Nullable Path adapter;

  @Option(
      names = "--template",
      paramLabel = "NAME",
      description =
          "The prompt recipe: llama2vec (released checkpoints) or llara-paper. By default what the"
              + " checkpoint was trained with.")
  private @Nullable String template;

  @Option(
      names = "--dtype",
      paramLabel = "auto|float32|bfloat16",
      defaultValue = "auto",
      description = "The type to compute in; auto: bfloat16 where the processor multiplies it.")
  private ComputeType computeType = ComputeType.AUTO;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description = "The longest prompt; longer texts are cut.")
  private @Nullable Integer maxTokens;

  @Option(
      names = "--batch-tokens",
      paramLabel = "N",
      description = "How many tokens are computed at once on one thread.")
  private @Nullable Integer batchTokens;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "How many threads compute; one per processor by default.")
  private @Nullable Integer threads;

  Optional<Path> adapter() {
    return Optional.ofNullable(adapter);
  }

  boolean hasTemplate() {
    return template != null;
  }

  /** Returns a builder with what was asked for; all else is left to the library's defaults. */
  EncoderBuilder encoder(Path model) {
    EncoderBuilder builder = Encoder.builder(model).computeType(computeType);
    if (adapter != null) {
      builder.adapter(adapter);
    }
    if (template != null) {
      builder.template(template);
    }
    if (maxTokens != null) {
      builder.maxTokens(maxTokens);
    }
    if (batchTokens != null) {
      builder.batchTokens(batchTokens);
    }
    if (threads != null) {
      builder.threads(threads);
    }
    return builder;
  }

  /** Tells the user how many texts an encoder had to cut. */
  static void noteCuts(Streams streams, Encoder encoder) {
    EncoderStatistics statistics = encoder.statistics();
    if (statistics.truncatedTexts() > 0) {
      streams.note(
          "%d of %d texts were cut to fit into %d tokens; %d tokens were lost"
              .formatted(
                  statistics.truncatedTexts(),
                  statistics.texts(),
                  encoder.maxTokens(),
                  statistics.truncatedTokens()));
    }
  }
}
