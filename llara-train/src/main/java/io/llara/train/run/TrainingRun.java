package io.llara.train.run;

import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.PromptTemplate.Token;
import io.llara.tensor.Cpu;
import io.llara.tensor.Libtorch;
import io.llara.tokenize.Tokenizer;
import io.llara.train.TrainingResult;
import io.llara.train.checkpoint.ModelDirectory;
import io.llara.train.distributed.Communicator;
import io.llara.train.model.MergedWeights;
import io.llara.train.model.TrainedModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;

/**
 * One run of a trainer, whatever it trains on: claims the directory, puts the parts together, goes
 * on where it was, writes the trained model.
 */
@Internal
public final class TrainingRun {
  /** How long a process waits for another before it gives up. */
  private static final Duration TIMEOUT = Duration.ofMinutes(10);

  private final RunOptions options;
  private final int maxTokens;
  private final TrainingTask.Factory tasks;
  private final CheckpointDirectory checkpoint;

  /**
   * Prepares a run.
   *
   * @param maxTokens the length of the longest prompt
   * @throws LlaraException if the model is none
   */
  public TrainingRun(RunOptions options, int maxTokens, TrainingTask.Factory tasks) {
    this.options = options;
    this.maxTokens = maxTokens;
    this.tasks = tasks;
    this.checkpoint = CheckpointDirectory.open(options.model());
  }

  /**
   * Runs until all steps are made or a stop is requested.
   *
   * @throws LlaraException if model, data or directory cannot be used
   * @throws io.llara.train.TrainingException if the loss is not a number
   */
  public TrainingResult run(BooleanSupplier stopRequested) {
    Libtorch.load();
    try (Tokenizer tokenizer = Tokenizer.load(options.model())) {
      requireRoomForTokens(tokenizer);
      TrainingTask task = tasks.create(checkpoint, tokenizer);
      long steps = options.steps().orElseGet(() -> stepsOf(task));
      TrainingLoop.Plan plan = options.plan(steps);
      Manifest manifest = manifest(options.deciding(steps, task.deciding()));
      Optional<Manifest> before = begin(manifest);
      if (before.isPresent() && before.get().finished().isPresent()) {
        return new TrainingResult(
            TrainingResult.Outcome.ALREADY_COMPLETE, before.get().steps(), options.out());
      }
      try (Communicator communicator = communicator()) {
        return train(
            task, plan, manifest.settings(), before.orElse(manifest), communicator, stopRequested);
      }
    }
  }

  private TrainingResult train(
      TrainingTask task,
      TrainingLoop.Plan plan,
      Map<String, String> settings,
      Manifest manifest,
      Communicator communicator,
      BooleanSupplier stopRequested) {
    communicator.barrier();
    try (Lanes lanes = new Lanes(options.threads());
        TrainedModel model = model(task);
        TrainingTask.Course course = task.begin(model, lanes, communicator);
        TrainingLoop loop =
            new TrainingLoop(
                plan,
                model,
                course.objective(),
                course.interlude(),
                lanes,
                communicator,
                options.out(),
                settings,
                options.listener())) {
      TrainingLoop.Resumed resumed = loop.resume();
      course.goOnAfter(loop.step(), resumed.position());
      boolean complete = loop.run(resumed, stopRequested);
      if (complete && options.rank() == 0) {
        // On a lane, where no interrupt closes a file half-way.
        lanes.run(
            List.of(
                () -> {
                  writeModel(model, task);
                  task.writeBeside(model, options.out());
                  manifest.after(loop.step(), Optional.of(Instant.now())).write(options.out());
                  return true;
                }));
      }
      communicator.barrier();
      return new TrainingResult(
          complete ? TrainingResult.Outcome.COMPLETED : TrainingResult.Outcome.STOPPED,
          loop.step(),
          options.out());
    }
  }

  private void requireRoomForTokens(Tokenizer tokenizer) {
    LlamaConfig config = checkpoint.config();
    if (tokenizer.vocabularySize() > config.vocabularySize()) {
      throw new LlaraException(
          "%s: the tokenizer has %d tokens, the model only %d"
              .formatted(options.model(), tokenizer.vocabularySize(), config.vocabularySize()));
    }
    if (maxTokens > config.maxPositionEmbeddings()) {
      throw new LlaraException(
          "%s: the model was made for %d tokens, not for %d"
              .formatted(options.model(), config.maxPositionEmbeddings(), maxTokens));
    }
  }

  private long stepsOf(TrainingTask task) {
    long examples = Math.multiplyExact(task.countExamples(), options.epochs());
    return Math.max(1, examples / options.batch());
  }

  private Manifest manifest(Map<String, String> settings) {
    return new Manifest(
        settings,
        Map.of("run", options.seed()),
        options.data().stream().map(Manifest.DataFile::of).toList(),
        Manifest.currentVersions(),
        Instant.now(),
        Optional.empty(),
        0);
  }

  /** Claims the output directory for this run, or finds that it is this run's already. */
  private Optional<Manifest> begin(Manifest manifest) {
    RunSettings now = new RunSettings(withData(manifest));
    Optional<RunSettings> before = RunSettings.read(options.out());
    if (before.isPresent()) {
      List<String> differences = now.compare(before.get());
      if (!differences.isEmpty()) {
        throw new LlaraException(
            "%s holds a run with other settings: %s; use another directory"
                .formatted(options.out(), String.join("; ", differences)));
      }
      return Manifest.read(options.out());
    }
    if (options.rank() == 0) {
      requireNoModel();
      try {
        Files.createDirectories(options.out());
      } catch (IOException e) {
        throw new LlaraException("%s: cannot be made: %s".formatted(options.out(), e), e);
      }
      manifest.write(options.out());
      now.write(options.out());
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
    if (Files.exists(options.out().resolve("config.json"))) {
      throw new LlaraException(
          options.out() + " holds a model that is not this run's; use another directory");
    }
  }

  private Communicator communicator() {
    return options
        .world()
        .map(world -> Communicator.gloo(world, TIMEOUT))
        .orElseGet(Communicator::alone);
  }

  private TrainedModel model(TrainingTask task) {
    TrainedModel.Settings settings =
        new TrainedModel.Settings(
            Cpu.scalarType(options.computeType()), maxTokens, task.needsHead());
    if (options.lora().isEmpty()) {
      return TrainedModel.full(checkpoint, settings);
    }
    int[] rows = options.trainMarkers() ? task.markerIds() : new int[0];
    return TrainedModel.lora(checkpoint, settings, options.lora().get(), rows, options.seed());
  }

  private void writeModel(TrainedModel model, TrainingTask task) {
    try (MergedWeights weights = model.weights()) {
      ModelDirectory.writeInto(
          options.model(),
          options.out(),
          weights,
          checkpoint.tensor(LlamaTensors.EMBEDDING).type(),
          task.trainedWith());
    }
  }

  /**
   * Returns a builder of prompts.
   *
   * @param user what needs the template, for the message
   * @throws LlaraException if the tokenizer lacks tokens of it
   */
  public static PromptBuilder prompts(
      Path model, String user, PromptTemplate template, Tokenizer tokenizer) {
    List<String> missing = PromptBuilder.missingTokens(template, tokenizer);
    if (!missing.isEmpty()) {
      throw new LlaraException(
          "%s: the tokenizer lacks %s, which the %s needs; add them first (llara add-markers)"
              .formatted(model, String.join(", ", missing), user));
    }
    return PromptBuilder.create(template, tokenizer);
  }

  /** Returns the ids of a template's marker tokens that have names of their own, ascending. */
  public static int[] markerIds(PromptTemplate template, Tokenizer tokenizer) {
    return Stream.concat(template.self().markers().stream(), template.next().markers().stream())
        .filter(Token.class::isInstance)
        .map(part -> tokenizer.tokenId(((Token) part).token()))
        .flatMapToInt(OptionalInt::stream)
        .sorted()
        .distinct()
        .toArray();
  }
}
