package io.llara.train.contrastive;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.tokenize.Tokenizer;
import io.llara.train.checkpoint.ModelDirectory;
import io.llara.train.data.BadLines;
import io.llara.train.data.Dataset;
import io.llara.train.data.GroupSampler;
import io.llara.train.data.ShuffleBuffer;
import io.llara.train.data.TrainingPair;
import io.llara.train.distributed.Communicator;
import io.llara.train.model.AdapterDirectory;
import io.llara.train.model.MergedWeights;
import io.llara.train.model.TrainedModel;
import io.llara.train.run.Interlude;
import io.llara.train.run.Lanes;
import io.llara.train.run.Objective;
import io.llara.train.run.RunOptions;
import io.llara.train.run.TrainingRun;
import io.llara.train.run.TrainingTask;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/** What a {@link ContrastiveTrainer} makes of a run. */
final class ContrastiveTask implements TrainingTask {
  private final ContrastiveSettings settings;
  private final RunOptions options;
  private final CheckpointDirectory checkpoint;
  private final Tokenizer tokenizer;
  private final PromptTemplate template;
  private final PairCollator collator;
  private final GroupSampler groups;
  private final Dataset<TrainingPair> training;

  ContrastiveTask(
      ContrastiveSettings settings, CheckpointDirectory checkpoint, Tokenizer tokenizer) {
    this.settings = settings;
    this.options = settings.options();
    this.checkpoint = checkpoint;
    this.tokenizer = tokenizer;
    this.template = template();
    PromptBuilder prompts =
        TrainingRun.prompts(
            options.model(), "template '%s'".formatted(template.name()), template, tokenizer);
    this.collator =
        new PairCollator(
            prompts, settings.modes(), settings.queryMaxTokens(), settings.passageMaxTokens());
    this.groups = settings.groups();
    this.training = source(false);
    training.requireExamples();
  }

  /** What an encoder of the model would take. */
  private PromptTemplate template() {
    return settings
        .template()
        .or(() -> checkpoint.llaraJson().map(LlaraJson::template))
        .orElseGet(
            () ->
                PromptBuilder.missingTokens(PromptTemplate.LLAMA2VEC, tokenizer).isEmpty()
                    ? PromptTemplate.LLAMA2VEC
                    : PromptTemplate.PAPER);
  }

  private Dataset<TrainingPair> source(boolean heldOut) {
    return Dataset.ofPairs(options.data(), groups.minNegatives())
        .badLines(options.badLines())
        .heldOut(options.heldOut(), heldOut);
  }

  @Override
  public long countExamples() {
    return training.count().examples();
  }

  @Override
  public Map<String, String> deciding() {
    return settings.deciding(template);
  }

  @Override
  public int[] markerIds() {
    return TrainingRun.markerIds(template, tokenizer);
  }

  @Override
  public boolean needsHead() {
    return false;
  }

  @Override
  public Optional<LlaraJson> trainedWith() {
    return Optional.of(
        new LlaraJson(
            template,
            settings.normalize(),
            OptionalInt.of(settings.queryMaxTokens()),
            OptionalInt.of(settings.passageMaxTokens())));
  }

  @Override
  public void writeBeside(TrainedModel model, Path out) {
    options
        .lora()
        .ifPresent(
            lora ->
                AdapterDirectory.write(
                    model, lora, options.model(), out.resolve(ContrastiveTrainer.ADAPTER_FOLDER)));
  }

  @Override
  public Course begin(TrainedModel model, Lanes lanes, Communicator communicator) {
    DrawnPairs drawn = new DrawnPairs(shuffled(training));
    Objective objective =
        new ContrastiveObjective(
            new ContrastiveObjective.Pairs(drawn, groups, collator),
            new InfoNce(settings.temperature(), settings.normalize()),
            new GradCache(
                new ContrastivePass(model, options.recompute()),
                lanes,
                model.dropout(),
                settings.subBatch()),
            communicator,
            new ContrastiveObjective.Batching(options.batch(), options.ranks(), options.seed()),
            heldOut());
    Optional<Refreshes> refreshes =
        settings
            .refresh()
            .map(
                refresh ->
                    new Refreshes(
                        refresh,
                        options.out(),
                        training,
                        groups.minNegatives(),
                        communicator,
                        new Refreshes.Parts(
                            dir -> write(model, lanes, dir),
                            this::refreshed,
                            pairs -> drawn.use(shuffled(pairs)),
                            options.listener())));
    return new Course() {
      @Override
      public Objective objective() {
        return objective;
      }

      @Override
      public void goOnAfter(long step, long position) {
        drawn.skip(position);
        refreshes.ifPresent(all -> all.goOnAfter(step));
      }

      @Override
      public Interlude interlude() {
        return refreshes.<Interlude>map(all -> all).orElse(Interlude.NONE);
      }

      @Override
      public void close() {
        drawn.close();
      }
    };
  }

  private ShuffleBuffer<TrainingPair> shuffled(Dataset<TrainingPair> pairs) {
    return new ShuffleBuffer<>(pairs, options.shuffleBuffer(), options.seed());
  }

  /** Refreshed pairs are those of training alone, and whole. */
  private Dataset<TrainingPair> refreshed(Path pairs) {
    return Dataset.ofPairs(List.of(pairs), groups.minNegatives()).badLines(BadLines.REFUSE);
  }

  /** Writes the model as it is. The lanes have nothing else to do meanwhile. */
  private void write(TrainedModel model, Lanes lanes, Path dir) {
    lanes.run(
        List.of(
            () -> {
              try (MergedWeights weights = model.weights()) {
                ModelDirectory.write(
                    options.model(),
                    dir,
                    weights,
                    checkpoint.tensor(LlamaTensors.EMBEDDING).type(),
                    trainedWith());
              }
              return true;
            }));
  }

  /** The held-out examples, of all processes: the same groups at each evaluation. */
  private List<PairExample> heldOut() {
    if (options.heldOut() == 0) {
      return List.of();
    }
    Dataset<TrainingPair> heldOut = source(true);
    heldOut.requireExamples();
    List<PairExample> examples = new ArrayList<>();
    // Drawn from all of them, not from the first ones.
    try (ShuffleBuffer<TrainingPair> some =
        new ShuffleBuffer<>(heldOut, options.shuffleBuffer(), 0, 1)) {
      while (examples.size() < options.evaluationTexts() && some.hasNext()) {
        examples.add(collator.example(groups.sample(some.next(), examples.size())));
      }
    }
    return examples;
  }
}
