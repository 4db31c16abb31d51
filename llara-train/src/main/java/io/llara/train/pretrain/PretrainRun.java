package io.llara.train.pretrain;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.PromptTemplate.Token;
import io.llara.prompt.Reserve;
import io.llara.tensor.Libtorch;
import io.llara.tensor.NumberTypes;
import io.llara.tokenize.Tokenizer;
import io.llara.train.TrainingResult;
import io.llara.train.checkpoint.ModelDirectory;
import io.llara.train.data.Collator;
import io.llara.train.data.Shuffled;
import io.llara.train.data.TextSource;
import io.llara.train.data.TrainingText;
import io.llara.train.distributed.Communicator;
import io.llara.train.model.MergedWeights;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.optim.LearningRateSchedule;
import io.llara.train.run.Lanes;
import io.llara.train.run.Manifest;
import io.llara.train.run.RunSettings;
import io.llara.train.run.TrainingLoop;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** One run of a {@link Pretrainer}: puts the parts together and takes them apart again. */
final class PretrainRun {
  /** How long a process waits for another before it gives up. */
  private static final Duration TIMEOUT = Duration.ofMinutes(10);

  private final PretrainSettings settings;
  private final CheckpointDirectory checkpoint;

  PretrainRun(PretrainSettings settings) {
    this.settings = settings;
    this.checkpoint = CheckpointDirectory.open(settings.model());
  }

  /** What a run trains with, checked before its directory is claimed. */
  private record Inputs(
      Tokenizer tokenizer,
      Optional<PromptBuilder> prompts,
      Collator collator,
      TextSource.Builder source,
      TextSource training,
      TrainingLoop.Plan plan) {}

  TrainingResult run(BooleanSupplier stopRequested) {
    Libtorch.load();
    try (Tokenizer tokenizer = Tokenizer.load(settings.model())) {
      Inputs inputs = inputs(tokenizer);
      Manifest manifest = manifest(inputs.plan().steps());
      Optional<Manifest> before = begin(manifest);
      if (before.isPresent() && before.get().finished().isPresent()) {
        return new TrainingResult(
            TrainingResult.Outcome.ALREADY_COMPLETE, before.get().steps(), settings.out());
      }
      try (Communicator communicator = communicator()) {
        return train(inputs, before.orElse(manifest), communicator, stopRequested);
      }
    }
  }

  private Inputs inputs(Tokenizer tokenizer) {
    requireRoomForTokens(tokenizer);
    Optional<PromptBuilder> prompts =
        settings.recipe().template().map(template -> prompts(template, tokenizer));
    TextSource.Builder source = source(tokenizer, prompts);
    TextSource training = source.heldOut(settings.heldOut(), false).build();
    training.requireExamples();
    long steps = settings.steps().orElseGet(() -> stepsOf(training));
    return new Inputs(
        tokenizer, prompts, collator(prompts, tokenizer), source, training, plan(steps));
  }

  private TrainingResult train(
      Inputs inputs, Manifest manifest, Communicator communicator, BooleanSupplier stopRequested) {
    communicator.barrier();
    try (Lanes lanes = new Lanes(settings.threads());
        TrainedModel model = model(inputs.tokenizer());
        Shuffled<TrainingText> shuffled =
            Shuffled.create(inputs.training(), settings.shuffleBuffer(), settings.seed())) {
      AdaptationObjective.Texts texts =
          new AdaptationObjective.Texts(
              shuffled, inputs.collator(), inputs.tokenizer().bosIds().length);
      AdaptationObjective objective =
          new AdaptationObjective(
              texts,
              new LossFormula(settings.recipe(), settings.weights()),
              pass(model),
              model.dropout(),
              lanes,
              new AdaptationObjective.Batching(
                  settings.batch(),
                  settings.microBatches(),
                  settings.rank(),
                  settings.ranks(),
                  settings.seed()),
              heldOut(inputs.source(), texts));
      try (TrainingLoop loop =
          new TrainingLoop(
              inputs.plan(),
              model,
              objective,
              lanes,
              communicator,
              settings.out(),
              settings.deciding(inputs.plan().steps()),
              settings.listener())) {
        TrainingLoop.Resumed resumed = loop.resume();
        shuffled.skip(resumed.position());
        boolean complete = loop.run(resumed, stopRequested);
        if (complete && settings.rank() == 0) {
          // On a lane, where no interrupt closes a file half-way.
          lanes.run(
              List.of(
                  () -> {
                    write(model, inputs.prompts());
                    manifest.after(loop.step(), Optional.of(Instant.now())).write(settings.out());
                    return true;
                  }));
        }
        communicator.barrier();
        return new TrainingResult(
            complete ? TrainingResult.Outcome.COMPLETED : TrainingResult.Outcome.STOPPED,
            loop.step(),
            settings.out());
      }
    }
  }

  private void requireRoomForTokens(Tokenizer tokenizer) {
    LlamaConfig config = checkpoint.config();
    if (tokenizer.vocabularySize() > config.vocabularySize()) {
      throw new LlaraException(
          "%s: the tokenizer has %d tokens, the model only %d"
              .formatted(settings.model(), tokenizer.vocabularySize(), config.vocabularySize()));
    }
    if (settings.maxTokens() > config.maxPositionEmbeddings()) {
      throw new LlaraException(
          "%s: the model was made for %d tokens, not for %d"
              .formatted(settings.model(), config.maxPositionEmbeddings(), settings.maxTokens()));
    }
  }

  private Collator collator(Optional<PromptBuilder> prompts, Tokenizer tokenizer) {
    return prompts
        .map(builder -> Collator.joint(builder, tokenizer, settings.maxTokens()))
        .orElseGet(() -> Collator.plain(tokenizer, settings.maxTokens()));
  }

  private PromptBuilder prompts(PromptTemplate template, Tokenizer tokenizer) {
    List<String> missing = PromptBuilder.missingTokens(template, tokenizer);
    if (!missing.isEmpty()) {
      throw new LlaraException(
          "%s: the tokenizer lacks %s, which the recipe '%s' needs; add them first (llara add-markers)"
              .formatted(
                  settings.model(), String.join(", ", missing), settings.recipe().spelled()));
    }
    return PromptBuilder.create(template, tokenizer).withReserve(Reserve.BOTH_SUFFIXES);
  }

  private TextSource.Builder source(Tokenizer tokenizer, Optional<PromptBuilder> prompts) {
    int room =
        settings.maxTokens()
            - prompts.map(builder -> builder.minimumTokens() - 1).orElse(tokenizer.bosIds().length);
    int passage = settings.passageTokens() == 0 ? Math.max(8, room) : settings.passageTokens();
    return TextSource.builder(settings.data())
        .badLines(settings.badLines())
        .tokenizer(tokenizer)
        .passageTokens(passage)
        .stopWords(settings.stopWords())
        .stripTargets(settings.stripTargets())
        .documentsAs(
            settings.recipe() == Recipe.LM
                ? TextSource.Kind.PLAIN_TEXTS
                : TextSource.Kind.PASSAGE_PAIRS);
  }

  private long stepsOf(TextSource training) {
    long texts = Math.multiplyExact(training.count().examples(), settings.epochs());
    return Math.max(1, texts / settings.batch());
  }

  private Manifest manifest(long steps) {
    return new Manifest(
        settings.deciding(steps),
        Map.of("run", settings.seed()),
        settings.data().stream().map(Manifest.DataFile::of).toList(),
        Manifest.currentVersions(),
        Instant.now(),
        Optional.empty(),
        0);
  }

  /** Claims the output directory for this run, or finds that it is this run's already. */
  private Optional<Manifest> begin(Manifest manifest) {
    RunSettings now = new RunSettings(withData(manifest));
    Optional<RunSettings> before = RunSettings.read(settings.out());
    if (before.isPresent()) {
      List<String> differences = now.compare(before.get());
      if (!differences.isEmpty()) {
        throw new LlaraException(
            "%s holds a run with other settings: %s; use another directory"
                .formatted(settings.out(), String.join("; ", differences)));
      }
      return Manifest.read(settings.out());
    }
    if (settings.rank() == 0) {
      requireNoModel();
      try {
        Files.createDirectories(settings.out());
      } catch (IOException e) {
        throw new LlaraException("%s: cannot be made: %s".formatted(settings.out(), e), e);
      }
      manifest.write(settings.out());
      now.write(settings.out());
    }
    return Optional.empty();
  }

  private static Map<String, String> withData(Manifest manifest) {
    Map<String, String> values = new LinkedHashMap<>(manifest.settings());
    int number = 0;
    for (Manifest.DataFile file : manifest.data()) {
      values.put("data " + ++number, "%s (SHA-256 %s)".formatted(file.path(), file.sha256()));
    }
    return values;
  }

  private void requireNoModel() {
    if (Files.exists(settings.out().resolve("config.json"))) {
      throw new LlaraException(
          settings.out() + " holds a model that is not this run's; use another directory");
    }
  }

  private Communicator communicator() {
    return settings
        .world()
        .map(world -> Communicator.gloo(world, TIMEOUT))
        .orElseGet(Communicator::alone);
  }

  private TrainedModel model(Tokenizer tokenizer) {
    ScalarType type = NumberTypes.of(settings.computeType());
    return settings
        .lora()
        .map(
            lora ->
                TrainedModel.lora(
                    checkpoint,
                    type,
                    settings.maxTokens(),
                    lora,
                    settings.trainMarkers() ? markerIds(tokenizer) : new int[0],
                    settings.seed()))
        .orElseGet(() -> TrainedModel.full(checkpoint, type, settings.maxTokens()));
  }

  /** The ids of the recipe's marker tokens that have names of their own, ascending. */
  private int[] markerIds(Tokenizer tokenizer) {
    return settings.recipe().template().stream()
        .flatMap(
            template ->
                Stream.concat(
                    template.self().markers().stream(), template.next().markers().stream()))
        .filter(Token.class::isInstance)
        .map(part -> tokenizer.tokenId(((Token) part).token()))
        .flatMapToInt(OptionalInt::stream)
        .sorted()
        .distinct()
        .toArray();
  }

  private AdaptationPass pass(TrainedModel model) {
    Layout layout = settings.visibleSelf() ? Layout.packed().withVisibleSelf() : Layout.packed();
    return new AdaptationPass(
        model,
        new VocabularyProjection(model.head()),
        settings.weights(),
        layout,
        settings.recompute());
  }

  private List<Prepared> heldOut(TextSource.Builder source, AdaptationObjective.Texts texts) {
    if (settings.heldOut() == 0) {
      return List.of();
    }
    TextSource heldOut = source.heldOut(settings.heldOut(), true).build();
    heldOut.requireExamples();
    List<Prepared> mine = new ArrayList<>();
    // Drawn from all held-out documents, not from the first ones.
    try (Shuffled<TrainingText> some = Shuffled.create(heldOut, settings.shuffleBuffer(), 0, 1)) {
      for (int i = 0; i < settings.evaluationTexts() && some.hasNext(); i++) {
        if (i % settings.ranks() == settings.rank()) {
          mine.add(texts.prepare(some.next(), settings.recipe()));
        } else {
          some.skip(1);
        }
      }
    }
    return mine;
  }

  private TrainingLoop.Plan plan(long steps) {
    return new TrainingLoop.Plan(
        steps,
        new LearningRateSchedule(
            settings.learningRate(), settings.warmupSteps(steps), steps, settings.decay(), 0),
        new AdamW.Settings(
            AdamW.Settings.DEFAULT.beta1(),
            AdamW.Settings.DEFAULT.beta2(),
            AdamW.Settings.DEFAULT.eps(),
            settings.weightDecay()),
        settings.clip(),
        settings.saveEvery(),
        settings.keep(),
        settings.heldOut() == 0 ? 0 : settings.evaluateEvery());
  }

  private void write(TrainedModel model, Optional<PromptBuilder> prompts) {
    try (MergedWeights weights = model.weights()) {
      ModelDirectory.writeInto(
          settings.model(),
          settings.out(),
          weights,
          checkpoint.tensor(LlamaTensors.EMBEDDING).type(),
          prompts.map(this::trainedWith));
    }
  }

  /** One suffix is shorter than both: prompts of one mode were as long as this. */
  private LlaraJson trainedWith(PromptBuilder prompts) {
    return new LlaraJson(
        settings.recipe().template().orElseThrow(),
        true,
        OptionalInt.of(settings.maxTokens() - prompts.suffixIds(Mode.SELF).length),
        OptionalInt.of(settings.maxTokens() - prompts.suffixIds(Mode.NEXT).length));
  }
}
