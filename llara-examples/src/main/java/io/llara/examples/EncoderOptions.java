package io.llara.examples;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.EncoderStatistics;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options of all commands that encode texts. */
final class EncoderOptions {
  @Option(
      names = "--adapter",
      paramLabel = "DIR",
      description = "A LoRA adapter (PEFT) to merge into the model.")
  private Optional<Path> adapter = Optional.empty();

  @Option(
      names = "--template",
      paramLabel = "NAME",
      description =
          "The prompt template: llama2vec (released checkpoints) or llara-paper (default: the one"
              + " the checkpoint was trained with).")
  private Optional<String> template = Optional.empty();

  @Option(
      names = "--device",
      paramLabel = "cpu|auto|cuda[:N,…|:all]",
      defaultValue = "cpu",
      description =
          "The device to compute on; cuda:0,1 or cuda:all: several GPUs at once; auto: a GPU that"
              + " can be used, else the processor (default: ${DEFAULT-VALUE}).")
  private String device = "cpu";

  @Option(
      names = "--dtype",
      paramLabel = "auto|float32|bfloat16|int8|float16|float8",
      defaultValue = "auto",
      description =
          "The type to compute in; auto: int8 for models stored in integers on a processor without"
              + " AMX, else bfloat16 where the device multiplies it natively, else float32; int8,"
              + " on the processor: faster still, and a little less exact; float16: on GPUs; float8:"
              + " on those of compute capability 8.9 and above (default: ${DEFAULT-VALUE}).")
  private ComputeType computeType = ComputeType.AUTO;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description = "Maximum length of a prompt; longer texts are truncated.")
  private Optional<Integer> maxTokens = Optional.empty();

  @Option(
      names = "--batch-tokens",
      paramLabel = "N",
      description = "How many tokens each thread computes at once.")
  private Optional<Integer> batchTokens = Optional.empty();

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Compute threads (default: one per processor; two for each GPU).")
  private Optional<Integer> threads = Optional.empty();

  @Option(
      names = "--copy-weights",
      description =
          "Copy the weights into memory instead of mapping their files: for a model whose files may"
              + " change meanwhile.")
  private boolean copyWeights;

  Optional<Path> adapter() {
    return adapter;
  }

  /** Returns a builder with the options given; all else is left to the library's defaults. */
  EncoderBuilder encoder(Path model) {
    EncoderBuilder builder =
        Encoder.builder(model).device(device).computeType(computeType).copyWeights(copyWeights);
    adapter.ifPresent(builder::adapter);
    template.ifPresent(builder::template);
    maxTokens.ifPresent(builder::maxTokens);
    batchTokens.ifPresent(builder::batchTokens);
    threads.ifPresent(builder::threads);
    return builder;
  }

  /** Notes how many texts an encoder had to truncate. */
  static void noteCuts(Streams streams, Encoder encoder) {
    EncoderStatistics statistics = encoder.statistics();
    int query = encoder.forQueries().maxTokens();
    int passage = encoder.forPassages().maxTokens();
    if (statistics.truncatedTexts() > 0) {
      streams.note(
          "%d of %d texts were truncated to %s tokens; %d tokens were lost"
              .formatted(
                  statistics.truncatedTexts(),
                  statistics.texts(),
                  query == passage ? String.valueOf(passage) : query + " (queries) or " + passage,
                  statistics.truncatedTokens()));
    }
  }
}
