package io.llara.train.run;

import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.OutOfDeviceMemoryException;
import io.llara.UnsupportedModelException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.LoraAdapter;
import io.llara.kernels.Accelerator;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.PromptTemplate.Token;
import io.llara.tensor.Libtorch;
import io.llara.tensor.Tensors;
import io.llara.tokenize.Tokenizer;
import io.llara.train.checkpoint.ModelDirectory;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.MergedWeights;
import io.llara.train.model.TrainedModel;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;

/** The model that a run begins with: its checkpoint and its tokenizer. For one thread. */
@Internal
public final class BaseModel implements AutoCloseable {
  private final RunOptions options;
  private final int maxTokens;
  private final CheckpointDirectory checkpoint;
  private final Optional<LoraAdapter> adapter;
  private final Tokenizer tokenizer;

  /** This thread's preparation for the device, if there is one. */
  private final Optional<Accelerator.Lane> lane;

  /**
   * Opens the model, and the device to train on; weights are loaded later.
   *
   * @param maxTokens the length of the longest prompt
   * @throws LlaraException if there is no model, it has no room for so many tokens, or the device
   *     cannot be used
   */
  public BaseModel(RunOptions options, int maxTokens) {
    this.options = options;
    this.maxTokens = maxTokens;
    this.checkpoint = CheckpointDirectory.open(path());
    this.adapter = options.model().adapter().map(dir -> LoraAdapter.open(dir, checkpoint.config()));
    adapter.ifPresent(TrainedModel::requireTrainable);
    Libtorch.load();
    options.compute().resolved(); // If the device refuses the type, then now.
    this.tokenizer = Tokenizer.load(path());
    try {
      this.lane = options.compute().accelerator().map(Accelerator::openLane);
    } catch (RuntimeException | Error e) {
      tokenizer.close();
      throw e;
    }
    try {
      requireTrainable();
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private Path path() {
    return options.model().path();
  }

  private void requireTrainable() {
    LlamaConfig config = checkpoint.config();
    if (!config.causal()) {
      throw new UnsupportedModelException(
          "%s: key 'is_causal' is false; such a model encodes, training supports causal ones"
              .formatted(path().resolve(CheckpointDirectory.CONFIG)));
    }
    if (llaraJson().flatMap(LlaraJson::dense).isPresent()) {
      throw new UnsupportedModelException(
          "%s: the model has a linear layer behind its pooling; it encodes, training supports models without (llara convert --without-dense leaves it out)"
              .formatted(path()));
    }
    if (tokenizer.vocabularySize() > config.vocabularySize()) {
      throw new LlaraException(
          "%s: the tokenizer has %d tokens, the model only %d"
              .formatted(path(), tokenizer.vocabularySize(), config.vocabularySize()));
    }
    if (maxTokens > config.maxPositionEmbeddings()) {
      throw new LlaraException(
          "%s: the model was made for %d tokens, not for %d"
              .formatted(path(), config.maxPositionEmbeddings(), maxTokens));
    }
  }

  /** Returns the configuration. */
  public LlamaConfig config() {
    return checkpoint.config();
  }

  /** Returns the tokenizer; it stays this object's. */
  public Tokenizer tokenizer() {
    return tokenizer;
  }

  /** Returns what the model says of how it was trained. */
  public Optional<LlaraJson> llaraJson() {
    return checkpoint.llaraJson();
  }

  /** Returns the prompts that were asked for, or else those of the model's {@code llara.json}. */
  public Optional<PromptTemplate> template() {
    return options.model().template().or(() -> llaraJson().map(LlaraJson::template));
  }

  /** Returns a template as the settings of a run say it: its name, if that says all. */
  public static String spelled(PromptTemplate template) {
    return template.isKnown() ? template.name() : template.toJson();
  }

  /**
   * Returns a builder of prompts.
   *
   * @param user what needs the template, for the message
   * @throws LlaraException if the tokenizer lacks tokens of it
   */
  public PromptBuilder prompts(PromptTemplate template, String user) {
    List<String> missing = PromptBuilder.missingTokens(template, tokenizer);
    if (!missing.isEmpty()) {
      throw new LlaraException(
          "%s: the tokenizer lacks %s, which the %s needs; add them first (llara add-markers)"
              .formatted(path(), String.join(", ", missing), user));
    }
    return PromptBuilder.create(template, tokenizer);
  }

  /**
   * Loads the weights to train them.
   *
   * @param template the prompts, whose markers may train
   * @param head whether the loss has to do with the projection on the vocabulary
   * @param pass what is run at once
   * @throws OutOfDeviceMemoryException if the training does not fit into the device's memory
   */
  public TrainedModel load(
      Optional<PromptTemplate> template, boolean head, TrainingMemory.Pass pass) {
    try {
      return load(template, settings(head), pass);
    } catch (RuntimeException e) {
      throw options.compute().explained(e);
    }
  }

  private TrainedModel.Settings settings(boolean head) {
    RunOptions.Compute compute = options.compute();
    return new TrainedModel.Settings(
        Tensors.scalarType(compute.resolved()), maxTokens, head, compute.accelerator());
  }

  private TrainedModel load(
      Optional<PromptTemplate> template, TrainedModel.Settings settings, TrainingMemory.Pass pass) {
    RunOptions.Model trains = options.model();
    settings
        .device()
        .ifPresent(
            device ->
                TrainingMemory.estimate(
                        checkpoint.config(),
                        settings,
                        trains.lora(),
                        pass,
                        options.compute().recompute())
                    .requireFits(device));
    if (trains.lora().isEmpty()) {
      return TrainedModel.full(checkpoint, settings);
    }
    int[] markers =
        trains.trainMarkers() ? template.map(this::markerIds).orElse(new int[0]) : new int[0];
    LoraOptions lora = trains.lora().get();
    return adapter.isPresent()
        ? TrainedModel.adapter(checkpoint, settings, adapter.get(), lora.dropout(), markers)
        : TrainedModel.lora(checkpoint, settings, lora, markers, options.seed());
  }

  /** Returns the ids of a template's marker tokens that have names of their own, ascending. */
  private int[] markerIds(PromptTemplate template) {
    return Stream.concat(template.self().markers().stream(), template.next().markers().stream())
        .filter(Token.class::isInstance)
        .map(part -> tokenizer.tokenId(((Token) part).token()))
        .flatMapToInt(OptionalInt::stream)
        .sorted()
        .distinct()
        .toArray();
  }

  /**
   * Writes the model as it was trained into a directory, which may hold other files.
   *
   * @param trainedWith what it says of itself; empty for what the model it began with says
   * @throws LlaraException if it cannot be written
   */
  public void write(TrainedModel model, Path dir, Optional<LlaraJson> trainedWith) {
    try (MergedWeights weights = model.weights()) {
      ModelDirectory.write(path(), dir, weights, checkpoint.weightType(), trainedWith);
    }
  }

  @Override
  public void close() {
    tokenizer.close();
    lane.ifPresent(Accelerator.Lane::close);
  }
}
