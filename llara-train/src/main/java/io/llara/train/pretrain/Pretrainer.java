package io.llara.train.pretrain;

import io.llara.attention.Layout;
import io.llara.prompt.PromptTemplate;
import io.llara.train.Trainer;
import io.llara.train.TrainingResult;
import io.llara.train.data.StopWords;
import io.llara.train.data.TrainingText;
import io.llara.train.model.TrainedModel;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.run.RetrievalEvaluations;
import io.llara.train.run.RunBuilder;
import io.llara.train.run.RunDirectory;
import io.llara.train.run.RunOptions;
import io.llara.train.run.StepHook;
import io.llara.train.run.TrainingLoop;
import io.llara.train.run.TrainingMemory;
import io.llara.train.run.Workers;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Adapts a LLaMA checkpoint to embedding text, on unlabelled text: EBAE (the SELF embedding must
 * predict the text's own tokens) and EBAR (the NEXT embedding must predict those of the text that
 * follows), both from one pass (arXiv 2312.15503, section 3.2). With {@link Recipe#LM} it trains a
 * base model instead.
 *
 * <pre>{@code
 * // A checkpoint with the sixteen marker tokens: see VocabularyGrowth.
 * Pretrainer pretrainer =
 *     Pretrainer.builder(
 *             Path.of("llama-with-markers"),
 *             List.of(Path.of("wikipedia.jsonl.gz")),
 *             Path.of("adapted"))
 *         .lora(LoraOptions.DEFAULT)
 *         .steps(2_000)
 *         .batch(32)
 *         .learningRate(1e-4)
 *         .heldOut(0.02)
 *         .evaluateEvery(100)
 *         .build();
 * TrainingResult result = pretrainer.run();
 *
 * try (Encoder encoder = Encoder.load(result.model())) {
 *   float[] passage = encoder.encode("A llama is a South American camelid.", Mode.SELF);
 * }
 * }</pre>
 *
 * <p>The output directory gets {@code metrics.jsonl} (one line a step), {@code evaluation.jsonl},
 * {@code run.json} (the settings), {@code manifest.json} (settings, seeds, hashes of the data,
 * versions), {@code checkpoints/}, and at the end the trained model in the layout of the Hugging
 * Face hub, updates merged. A run that ended early, however it ended, goes on from its newest whole
 * checkpoint when it is built and run again with the same settings, with the same losses as if it
 * had never ended.
 *
 * <p>{@link #stop} may be called from any thread; everything else is for one thread.
 */
public final class Pretrainer implements Trainer {
  /** The examples of a step by default. */
  public static final int DEFAULT_BATCH = 16;

  /** The most tokens of a prompt by default. */
  public static final int DEFAULT_MAX_TOKENS = 256;

  final Options options;
  private volatile boolean stopRequested;

  private Pretrainer(Options options) {
    this.options = options;
  }

  /** The options, checked and with every default filled in; {@link Builder} says what they mean. */
  record Options(
      RunOptions run,
      Recipe recipe,
      LossWeights weights,
      int microBatches,
      Texts texts,
      boolean visibleSelf) {

    /** How texts are read; 0 passage tokens stand for what a prompt has room for. */
    record Texts(int maxTokens, int passageTokens, StopWords stopWords, boolean stripTargets) {}

    /** Returns by name what decides the results of a run, as {@code run.json} has it. */
    Map<String, String> deciding(Optional<PromptTemplate> template) {
      Map<String, String> values = new LinkedHashMap<>();
      values.put("recipe", recipe.spelled());
      if (!template.equals(recipe.template())) {
        values.put("template", BaseModel.spelled(template.orElseThrow()));
      }
      values.put("weights", "%s %s %s".formatted(weights.token(), weights.self(), weights.next()));
      values.put("micro-batches", String.valueOf(microBatches));
      values.put("max tokens", String.valueOf(texts.maxTokens()));
      values.put("passage tokens", String.valueOf(texts.passageTokens()));
      values.put("strip targets", String.valueOf(texts.stripTargets()));
      values.put("stop words", String.valueOf(texts.stopWords().words().hashCode()));
      values.put("visible self", String.valueOf(visibleSelf));
      return values;
    }
  }

  /**
   * Begins to describe a run.
   *
   * @param model the checkpoint to begin with
   * @param data files, see {@link io.llara.train.data.TextFormat}, and folders of such, see {@link
   *     io.llara.train.data.Dataset#filesIn}
   * @param out the directory of the run; made if it does not exist
   */
  public static Builder builder(Path model, List<Path> data, Path out) {
    return new Builder(model, data, out);
  }

  @Override
  public TrainingResult run() {
    try (BaseModel base = new BaseModel(options.run(), options.texts().maxTokens())) {
      AdaptationData data = new AdaptationData(options, base);
      RetrievalEvaluations.Collections collections =
          RetrievalEvaluations.Collections.open(options.run());
      try (Examples<TrainingText, TextExample> examples = data.examples();
          RunDirectory directory =
              RunDirectory.claim(
                  options.run(), options.deciding(data.template()), examples::count)) {
        Optional<TrainingResult> finished = directory.finished();
        if (finished.isPresent()) {
          return finished.get();
        }
        try (Workers workers = Workers.start(options.run().compute());
            TrainedModel model = base.load(data.template(), true, pass());
            TrainingLoop<TextExample> loop =
                new TrainingLoop<>(
                    directory, model, examples, objective(model, workers), workers)) {
          StepHook retrieval =
              new RetrievalEvaluations(
                  options.run(),
                  collections,
                  workers.communicator(),
                  // On a lane: they have nothing else to do between steps.
                  dir -> workers.lanes().run(() -> base.write(model, dir, data.trainedWith())));
          return loop.run(
              List.of(retrieval),
              () -> stopRequested || Thread.currentThread().isInterrupted(),
              () -> base.write(model, directory.path(), data.trainedWith()));
        }
      }
    }
  }

  private TrainingMemory.Pass pass() {
    int texts =
        options.run().data().batch() / options.run().compute().ranks() / options.microBatches();
    return new TrainingMemory.Pass(
        (long) texts * options.texts().maxTokens(), VocabularyProjection.DEVICE_CHUNK_BYTES);
  }

  private AdaptationObjective objective(TrainedModel model, Workers workers) {
    Layout layout = options.visibleSelf() ? Layout.packed().withVisibleSelf() : Layout.packed();
    return new AdaptationObjective(
        model,
        options.recipe(),
        options.weights(),
        new AdaptationObjective.Passes(
            layout, options.microBatches(), options.run().compute().recompute()),
        workers);
  }

  @Override
  public void stop() {
    stopRequested = true;
  }

  /** Collects the settings of a run. Not thread-safe. */
  public static final class Builder extends RunBuilder<Builder> {
    private Recipe recipe = Recipe.RELEASED;
    private @Nullable LossWeights weights;
    private int microBatches = 1;
    private int maxTokens = DEFAULT_MAX_TOKENS;
    private @Nullable Integer passageTokens;
    private StopWords stopWords = StopWords.english();
    private @Nullable Boolean stripTargets;
    private boolean visibleSelf;

    private Builder(Path model, List<Path> data, Path out) {
      super(model, data, out, DEFAULT_BATCH, true);
    }

    @Override
    protected Builder self() {
      return this;
    }

    /** Sets prompts, targets and loss; {@link Recipe#RELEASED} by default. */
    public Builder recipe(Recipe recipe) {
      this.recipe = recipe;
      return this;
    }

    /**
     * Sets the prompts; by default those of the model's {@code llara.json} if they are the user's
     * own, else the recipe's. Both modes need the same prefix, and a suffix that pooling begins in.
     */
    @Override
    public Builder template(PromptTemplate template) {
      return super.template(template);
    }

    /** Sets how much each term of the loss counts; {@link Recipe#weights} by default. */
    public Builder weights(LossWeights weights) {
      this.weights = weights;
      return this;
    }

    /**
     * Sets in how many parts, one after another, each process runs its share of a batch; 1 by
     * default. More save memory and change nothing else.
     */
    public Builder microBatches(int parts) {
      this.microBatches = parts;
      return this;
    }

    /**
     * Sets the most tokens of a prompt, both suffixes included, and of a target; {@value
     * #DEFAULT_MAX_TOKENS} by default.
     */
    public Builder maxTokens(int tokens) {
      this.maxTokens = tokens;
      return this;
    }

    /**
     * Sets the most tokens of a passage that documents are cut into; by default what a prompt has
     * room for.
     */
    public Builder passageTokens(int tokens) {
      this.passageTokens = tokens;
      return this;
    }

    /** Sets the words left out of targets; {@link StopWords#english} by default. */
    public Builder stopWords(StopWords words) {
      this.stopWords = words;
      return this;
    }

    /** Sets whether targets lose stop words and punctuation; as the recipe says by default. */
    public Builder stripTargets(boolean strip) {
      this.stripTargets = strip;
      return this;
    }

    /**
     * Lets NEXT see SELF in the joint prompts, to measure what hiding it is for. A model trained
     * like that is of no other use: encoding has one of the two suffixes only.
     */
    public Builder visibleSelf(boolean visible) {
      this.visibleSelf = visible;
      return this;
    }

    @Override
    public Pretrainer build() {
      List<String> problems = new ArrayList<>();
      require(problems, microBatches >= 1, "micro-batches must be at least 1");
      requireDivisible(problems, microBatches);
      require(problems, maxTokens >= 2, "max tokens must be at least 2");
      require(
          problems,
          passageTokens == null || passageTokens >= 8,
          "passage tokens must be at least 8");
      boolean lm = recipe == Recipe.LM;
      RunOptions run = options(lm ? 5e-4 : 1e-5, lm ? 5e-4 : 1e-4, problems);
      if (lm && run.model().template().isPresent()) {
        throw new IllegalArgumentException("plain language modelling has no prompts to set");
      }
      if (lm && !run.output().retrieval().folders().isEmpty()) {
        throw new IllegalArgumentException("a model of plain language modelling cannot retrieve");
      }
      return new Pretrainer(
          new Options(
              run,
              recipe,
              weights == null ? recipe.weights() : weights,
              microBatches,
              new Options.Texts(
                  maxTokens,
                  passageTokens == null ? 0 : passageTokens,
                  stopWords,
                  stripTargets == null ? recipe.stripsTargets() : stripTargets),
              visibleSelf));
    }
  }
}
