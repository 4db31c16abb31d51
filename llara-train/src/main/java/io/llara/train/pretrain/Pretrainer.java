package io.llara.train.pretrain;

import io.llara.train.Trainer;
import io.llara.train.TrainingResult;
import io.llara.train.data.StopWords;
import io.llara.train.run.RunBuilder;
import io.llara.train.run.TrainingRun;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
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
  /** The examples of a step unless told otherwise. */
  public static final int DEFAULT_BATCH = 16;

  /** The most tokens of a prompt unless told otherwise. */
  public static final int DEFAULT_MAX_TOKENS = 256;

  private final PretrainSettings settings;
  private volatile boolean stopRequested;

  private Pretrainer(PretrainSettings settings) {
    this.settings = settings;
  }

  /**
   * Begins to describe a run.
   *
   * @param model the checkpoint to begin with
   * @param data JSONL files, see {@link io.llara.train.data.TextFormat}
   * @param out the directory of the run; made if it does not exist
   */
  public static Builder builder(Path model, List<Path> data, Path out) {
    return new Builder(model, data, out);
  }

  @Override
  public TrainingResult run() {
    return new TrainingRun(
            settings.options(),
            settings.maxTokens(),
            (checkpoint, tokenizer) -> new AdaptationTask(settings, tokenizer))
        .run(() -> stopRequested || Thread.currentThread().isInterrupted());
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

    /** Sets how much each term of the loss counts; {@link Recipe#weights} by default. */
    public Builder weights(LossWeights weights) {
      this.weights = weights;
      return this;
    }

    /**
     * Sets the examples of a step, over all processes and micro-batches; {@value #DEFAULT_BATCH} by
     * default.
     */
    @Override
    public Builder batch(int examples) {
      return super.batch(examples);
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
     * Sets the highest learning rate; by default 1e-4 with LoRA, 1e-5 for all parameters, 5e-4 for
     * {@link Recipe#LM}.
     */
    @Override
    public Builder learningRate(double rate) {
      return super.learningRate(rate);
    }

    /**
     * Sets whether with LoRA the embeddings of the recipe's marker tokens train too, while the rest
     * of the matrix is frozen; they do by default. Where the matrix is the head's as well, their
     * rows of the head are the same numbers; a head of its own stays frozen.
     */
    @Override
    public Builder trainMarkers(boolean train) {
      return super.trainMarkers(train);
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
      require(
          problems,
          batchDividesInto(microBatches),
          "%s with %d micro-batches each".formatted(batchCannotBeDivided(), microBatches));
      require(problems, maxTokens >= 2, "max tokens must be at least 2");
      require(
          problems,
          passageTokens == null || passageTokens >= 8,
          "passage tokens must be at least 8");
      return new Pretrainer(
          new PretrainSettings(
              options(defaultRate(), problems),
              recipe,
              weights == null ? recipe.weights() : weights,
              microBatches,
              maxTokens,
              passageTokens == null ? 0 : passageTokens,
              stopWords,
              stripTargets == null ? recipe.stripsTargets() : stripTargets,
              visibleSelf));
    }

    private double defaultRate() {
      if (recipe == Recipe.LM) {
        return 5e-4;
      }
      return trainsAllParameters() ? 1e-5 : 1e-4;
    }
  }
}
