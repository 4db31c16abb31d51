package io.llara.examples;

import io.llara.ComputeType;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptTemplate;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.train.data.BadLines;
import io.llara.train.lora.LoraOptions;
import io.llara.train.optim.LearningRateSchedule;
import io.llara.train.preset.Preset;
import io.llara.train.run.RunBuilder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The settings that all kinds of training have; their defaults are those of the library. */
final class TrainingOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--preset",
      paramLabel = "default|llara",
      defaultValue = "default",
      description =
          "What options are by default; llara: as in the commands of the released code, on eight"
              + " texts a step; docs/training.md compares both (default: ${DEFAULT-VALUE}).")
  private Preset preset = Preset.DEFAULT;

  @Option(
      names = "--template",
      paramLabel = "NAME|FILE",
      description =
          "The prompt template: llama2vec, llara-paper, or a llara.json with one of your own"
              + " (default: the model's; in pretrain the recipe's, unless the model's is one of"
              + " your own).")
  private Optional<String> template = Optional.empty();

  @Option(
      names = "--lora",
      paramLabel = "R",
      description =
          "Train low-rank updates of rank R of all seven projections; in pretrain, the markers'"
              + " embeddings too (default: rank 64).")
  private Optional<Integer> loraRank = Optional.empty();

  @Option(
      names = "--full",
      description =
          "Train all parameters instead (default for pretrain with --recipe lm or --preset"
              + " llara).")
  private boolean full;

  @Option(
      names = "--adapter",
      paramLabel = "DIR",
      description =
          "Train the updates of a LoRA adapter (PEFT) of the model further, instead of new ones.")
  private Optional<Path> adapter = Optional.empty();

  @Option(
      names = "--lora-alpha",
      paramLabel = "X",
      description = "Scale LoRA updates by X over the rank (default: 16).")
  private Optional<Double> loraAlpha = Optional.empty();

  @Option(
      names = "--lora-dropout",
      paramLabel = "P",
      description = "Dropout probability of LoRA's inputs (default: 0; llara: 0.1).")
  private Optional<Double> loraDropout = Optional.empty();

  @Option(names = "--steps", paramLabel = "N", description = "Train for N steps.")
  private Optional<Long> steps = Optional.empty();

  @Option(
      names = "--epochs",
      paramLabel = "N",
      description = "Instead of --steps: go through the data N times (default: 1).")
  private Optional<Long> epochs = Optional.empty();

  @Option(
      names = "--warmup",
      paramLabel = "N",
      description =
          "Steps over which the learning rate rises; it then decays linearly (default: a thirtieth"
              + " of the run; llara: a tenth).")
  private Optional<Long> warmup = Optional.empty();

  @Option(
      names = "--warmup-ratio",
      paramLabel = "F",
      description = "Instead of --warmup: the fraction of the steps, rounded up.")
  private Optional<Double> warmupRatio = Optional.empty();

  @Option(
      names = "--warmup-shape",
      paramLabel = "linear|log",
      description =
          "How the learning rate rises; log: as DeepSpeed's WarmupDecayLR, the first two steps with"
              + " a rate of 0 (default: linear; llara: log).")
  private Optional<LearningRateSchedule.Warmup> warmupShape = Optional.empty();

  @Option(
      names = "--weight-decay",
      paramLabel = "X",
      description = "Weight decay of AdamW (default: ${DEFAULT-VALUE}).")
  private double weightDecay;

  @Option(
      names = "--clip",
      paramLabel = "X",
      description =
          "Maximum gradient norm, which larger gradients are scaled down to; 0 for none (default:"
              + " ${DEFAULT-VALUE}).")
  private double clip = RunBuilder.DEFAULT_CLIP;

  @Option(
      names = "--skip-bad-lines",
      description = "Skip lines that cannot be read; by default the first one is an error.")
  private boolean skipBadLines;

  @Option(
      names = "--shuffle-buffer",
      paramLabel = "N",
      description =
          "Lines are drawn from all files in random order; this many texts are held in memory to"
              + " mix the passages of documents. 1 keeps the order of the files (default:"
              + " ${DEFAULT-VALUE}).")
  private int shuffleBuffer = RunBuilder.DEFAULT_SHUFFLE_BUFFER;

  @Option(
      names = "--weights",
      paramLabel = "W",
      split = ",",
      description =
          "How often each line of a file is drawn in an epoch, one number for each file: 2 is"
              + " twice, 0.5 every other line (default: 1 each).")
  private List<Double> weights = new ArrayList<>();

  @Option(
      names = "--one-source-batches",
      description =
          "Draw each batch from one of the files; each file gets its share of them. Files are read"
              + " once in advance.")
  private boolean oneSourceBatches;

  @Option(
      names = "--hold-out",
      paramLabel = "F",
      description =
          "Fraction of the documents or queries, from 0 to below 1, held out for evaluation"
              + " (default: ${DEFAULT-VALUE}).")
  private double holdOut;

  @Option(
      names = "--evaluate-every",
      paramLabel = "N",
      description = "Steps from one evaluation to the next (default: ${DEFAULT-VALUE}).")
  private long evaluateEvery = RunBuilder.DEFAULT_EVALUATE_EVERY;

  @Option(
      names = "--evaluate-beir",
      arity = "1..*",
      paramLabel = "DIR",
      description =
          "Test collections in BEIR format that the model is evaluated on as often, by exact"
              + " search; the one with the best mean nDCG@10 is kept in OUT/best.")
  private List<Path> beir = new ArrayList<>();

  @Option(
      names = "--evaluate-split",
      paramLabel = "NAME",
      defaultValue = BeirEvaluator.DEFAULT_SPLIT,
      description = "The split of these whose judgements are used (default: ${DEFAULT-VALUE}).")
  private String beirSplit = BeirEvaluator.DEFAULT_SPLIT;

  @Option(
      names = "--save-every",
      paramLabel = "N",
      description = "Steps from one checkpoint to the next (default: ${DEFAULT-VALUE}).")
  private long saveEvery = RunBuilder.DEFAULT_SAVE_EVERY;

  @Mixin private SeedOption seed = new SeedOption();

  @Option(
      names = "--threads",
      paramLabel = "N",
      description =
          "Compute threads of each process (default: one per processor, divided among the"
              + " processes; one on a GPU).")
  private Optional<Integer> threads = Optional.empty();

  @Option(
      names = "--device",
      paramLabel = "cpu|auto|cuda[:N,…]",
      defaultValue = "cpu",
      description =
          "The device to train on; with --nproc, each process takes one of the GPUs, or of those"
              + " named (default: ${DEFAULT-VALUE}).")
  private String device = "cpu";

  @Option(
      names = "--dtype",
      paramLabel = "auto|float32|bfloat16",
      defaultValue = "auto",
      description =
          "The type to compute in; auto: bfloat16 where the device multiplies it natively."
              + " Weights and sums are float32 in any case (default: ${DEFAULT-VALUE}).")
  private ComputeType computeType = ComputeType.AUTO;

  @Option(
      names = "--recompute",
      description =
          "Recompute layers in the backward pass instead of keeping their activations: slower, in"
              + " less memory.")
  private boolean recompute;

  Preset preset() {
    return preset;
  }

  long seed() {
    return seed.value();
  }

  ComputeType computeType() {
    return computeType;
  }

  Optional<Integer> threads() {
    return threads;
  }

  String device() {
    return device;
  }

  /**
   * Hands the settings to a builder.
   *
   * @param fullByDefault whether all parameters are trained unless LoRA is asked for
   */
  void applyTo(RunBuilder<?> builder, boolean fullByDefault) {
    Subcommand.requireOneAtMost(command, "--steps", "--epochs");
    Subcommand.requireOneAtMost(command, "--lora", "--full");
    Subcommand.requireOneAtMost(command, "--warmup", "--warmup-ratio");
    builder
        .weightDecay(weightDecay)
        .clip(clip)
        .badLines(skipBadLines ? BadLines.SKIP : BadLines.REFUSE)
        .shuffleBuffer(shuffleBuffer)
        .fileWeights(weights)
        .oneSourceBatches(oneSourceBatches)
        .heldOut(holdOut)
        .evaluateEvery(evaluateEvery)
        .evaluateRetrieval(beir, beirSplit)
        .saveEvery(saveEvery)
        .seed(seed.value())
        .computeType(computeType)
        .device(device)
        .recompute(recompute);
    steps.ifPresent(builder::steps);
    epochs.ifPresent(builder::epochs);
    warmup.ifPresent(builder::warmup);
    warmupRatio.ifPresent(builder::warmupRatio);
    warmupShape.ifPresent(builder::warmupShape);
    template.map(this::template).ifPresent(builder::template);
    threads.ifPresent(builder::threads);
    adapter.ifPresent(dir -> continueAdapter(builder, dir));
    if (adapter.isEmpty() && (full || fullByDefault && loraRank.isEmpty())) {
      List<String> idle =
          Subcommand.given(command, "--lora-alpha", "--lora-dropout", "--train-markers");
      if (!idle.isEmpty()) {
        throw Subcommand.usageError(
            command,
            "%s is for LoRA, and all parameters are trained; give --lora R or leave it out"
                .formatted(idle.get(0)));
      }
      builder.fullParameters();
    } else {
      LoraOptions lora = preset.lora();
      lora = loraRank.map(lora::withRank).orElse(lora);
      lora = loraAlpha.map(lora::withAlpha).orElse(lora);
      builder.lora(loraDropout.map(lora::withDropout).orElse(lora));
    }
  }

  private PromptTemplate template(String name) {
    return PromptTemplate.byName(name)
        .orElseGet(
            () -> {
              Path file = Path.of(name);
              if (!Files.isRegularFile(file)) {
                throw Subcommand.usageError(
                    command,
                    "--template is %s; known are %s, and it is no file"
                        .formatted(name, String.join(", ", PromptTemplate.names())));
              }
              return LlaraJson.read(file).template();
            });
  }

  private void continueAdapter(RunBuilder<?> builder, Path dir) {
    List<String> idle = Subcommand.given(command, "--lora", "--full", "--lora-alpha");
    if (!idle.isEmpty()) {
      throw Subcommand.usageError(
          command, "%s and --adapter exclude each other".formatted(idle.get(0)));
    }
    builder.adapter(dir);
  }
}
