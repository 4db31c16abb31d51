package io.llara.train.pretrain;

import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.train.TrainingException;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.data.BadLines;
import io.llara.train.data.StopWords;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.lora.LoraOptions;
import io.llara.train.optim.LearningRateSchedule;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
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
public final class Pretrainer {
  /** The examples of a step unless told otherwise. */
  public static final int DEFAULT_BATCH = 16;

  /** The most tokens of a prompt unless told otherwise. */
  public static final int DEFAULT_MAX_TOKENS = 256;

  /** The length that longer gradients are scaled down to unless told otherwise. */
  public static final double DEFAULT_CLIP = 1;

  /** The steps between evaluations unless told otherwise. */
  public static final long DEFAULT_EVALUATE_EVERY = 100;

  /** The steps between checkpoints unless told otherwise. */
  public static final long DEFAULT_SAVE_EVERY = 100;

  /** What random numbers come from unless told otherwise. */
  public static final long DEFAULT_SEED = 42;

  private final PretrainSettings settings;
  private volatile boolean stopRequested;

  private Pretrainer(PretrainSettings settings) {
    this.settings = settings;
  }

  /**
   * Begins to describe a run.
   *
   * @param model the checkpoint to begin with
   * @param data JSONL files, see {@link io.llara.train.data.TextSource}
   * @param out the directory of the run; made if it does not exist
   */
  public static Builder builder(Path model, List<Path> data, Path out) {
    return new Builder(model, data, out);
  }

  /**
   * Runs until all steps are made, or {@link #stop} is called, or this thread is interrupted; then
   * a checkpoint is saved and the run ends cleanly. The interrupt is kept.
   *
   * @throws LlaraException if the checkpoint or the data cannot be used, the settings are not those
   *     that the run in the directory was begun with, or something cannot be written
   * @throws TrainingException if the loss is not a number
   */
  public TrainingResult run() {
    return new PretrainRun(settings)
        .run(() -> stopRequested || Thread.currentThread().isInterrupted());
  }

  /** Ends the run after the step at hand, with a checkpoint. */
  public void stop() {
    stopRequested = true;
  }

  /** Collects the settings of a run. Not thread-safe. */
  public static final class Builder {
    private final Path model;
    private final List<Path> data;
    private final Path out;
    private Recipe recipe = Recipe.RELEASED;
    private @Nullable LossWeights weights;
    private Optional<LoraOptions> lora = Optional.of(LoraOptions.DEFAULT);
    private boolean trainMarkers = true;
    private OptionalLong steps = OptionalLong.empty();
    private long epochs = 1;
    private int batch = DEFAULT_BATCH;
    private int microBatches = 1;
    private @Nullable Double learningRate;
    private OptionalLong warmup = OptionalLong.empty();
    private LearningRateSchedule.Decay decay = LearningRateSchedule.Decay.LINEAR;
    private double weightDecay;
    private double clip = DEFAULT_CLIP;
    private int maxTokens = DEFAULT_MAX_TOKENS;
    private @Nullable Integer passageTokens;
    private int shuffleBuffer = 4096;
    private StopWords stopWords = StopWords.english();
    private @Nullable Boolean stripTargets;
    private BadLines badLines = BadLines.REFUSE;
    private double heldOut;
    private long evaluateEvery = DEFAULT_EVALUATE_EVERY;
    private int evaluationTexts = 256;
    private long saveEvery = DEFAULT_SAVE_EVERY;
    private int keep = 2;
    private long seed = DEFAULT_SEED;
    private @Nullable Integer threads;
    private ComputeType computeType = ComputeType.AUTO;
    private boolean recompute;
    private boolean visibleSelf;
    private Optional<WorldSettings> world = Optional.empty();
    private TrainingListener listener = TrainingListener.NONE;

    private Builder(Path model, List<Path> data, Path out) {
      this.model = model;
      this.data = List.copyOf(data);
      this.out = out;
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
     * Trains low-rank updates of the projections: the default, with {@link LoraOptions#DEFAULT}.
     */
    public Builder lora(LoraOptions options) {
      this.lora = Optional.of(options);
      return this;
    }

    /** Trains all parameters. */
    public Builder fullParameters() {
      this.lora = Optional.empty();
      return this;
    }

    /**
     * Sets whether with LoRA the embeddings of the recipe's marker tokens train too, while the rest
     * of the matrix is frozen; they do by default. Where the matrix is the head's as well, their
     * rows of the head are the same numbers; a head of its own stays frozen.
     */
    public Builder trainMarkers(boolean train) {
      this.trainMarkers = train;
      return this;
    }

    /** Sets the number of steps; by default as many as {@link #epochs} make. */
    public Builder steps(long steps) {
      this.steps = OptionalLong.of(steps);
      return this;
    }

    /**
     * Sets how often the data is gone through when no number of steps is given; 1 by default. The
     * data is read once before the run to count its texts.
     */
    public Builder epochs(long epochs) {
      this.epochs = epochs;
      this.steps = OptionalLong.empty();
      return this;
    }

    /**
     * Sets the examples of a step, over all processes and micro-batches; {@value #DEFAULT_BATCH} by
     * default.
     */
    public Builder batch(int examples) {
      this.batch = examples;
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
     * Sets the highest learning rate; by default 1e-4 with LoRA, 1e-5 for all parameters, 5e-4 for
     * {@link Recipe#LM}.
     */
    public Builder learningRate(double rate) {
      this.learningRate = rate;
      return this;
    }

    /** Sets over how many steps the learning rate rises; a thirtieth of the run by default. */
    public Builder warmup(long warmupSteps) {
      this.warmup = OptionalLong.of(warmupSteps);
      return this;
    }

    /** Sets how the learning rate falls after that; linearly by default. */
    public Builder decay(LearningRateSchedule.Decay decay) {
      this.decay = decay;
      return this;
    }

    /** Sets the weight decay of AdamW, on every trained parameter; 0 by default. */
    public Builder weightDecay(double decay) {
      this.weightDecay = decay;
      return this;
    }

    /**
     * Sets the length that longer gradients are scaled down to; {@value #DEFAULT_CLIP} by default,
     * 0 for none.
     */
    public Builder clip(double maxNorm) {
      this.clip = maxNorm;
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

    /** Sets how many texts are held in memory to draw from at random; 4096 by default. */
    public Builder shuffleBuffer(int texts) {
      this.shuffleBuffer = texts;
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

    /** Sets what happens to lines that cannot be used; {@link BadLines#REFUSE} by default. */
    public Builder badLines(BadLines badLines) {
      this.badLines = badLines;
      return this;
    }

    /** Sets the share of documents that is held out and evaluated; 0 by default. */
    public Builder heldOut(double fraction) {
      this.heldOut = fraction;
      return this;
    }

    /**
     * Sets after how many steps held-out texts are evaluated, beside before the first and after the
     * last; {@value #DEFAULT_EVALUATE_EVERY} by default.
     */
    public Builder evaluateEvery(long steps) {
      this.evaluateEvery = steps;
      return this;
    }

    /** Sets the most held-out texts that are evaluated; 256 by default. */
    public Builder evaluationTexts(int texts) {
      this.evaluationTexts = texts;
      return this;
    }

    /** Sets after how many steps a checkpoint is saved; {@value #DEFAULT_SAVE_EVERY} by default. */
    public Builder saveEvery(long steps) {
      this.saveEvery = steps;
      return this;
    }

    /** Sets how many checkpoints stay; 2 by default. */
    public Builder keep(int checkpoints) {
      this.keep = checkpoints;
      return this;
    }

    /** Sets what all random numbers come from; {@value #DEFAULT_SEED} by default. */
    public Builder seed(long seed) {
      this.seed = seed;
      return this;
    }

    /** Sets the number of lanes; as many as there are processors by default. */
    public Builder threads(int lanes) {
      this.threads = lanes;
      return this;
    }

    /**
     * Sets the type to compute in; {@link ComputeType#AUTO} by default. The optimiser's values, the
     * sums of gradients and the losses are float32 in any case.
     */
    public Builder computeType(ComputeType type) {
      this.computeType = type;
      return this;
    }

    /**
     * Sets whether layers are run again in the backward pass instead of being kept (activation
     * checkpointing): slower by a third, for far less memory. Off by default.
     */
    public Builder recompute(boolean recompute) {
      this.recompute = recompute;
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

    /** Makes this process one of several; alone by default. */
    public Builder world(WorldSettings world) {
      this.world = Optional.of(world);
      return this;
    }

    /** Sets who hears how the run goes on. */
    public Builder listener(TrainingListener listener) {
      this.listener = listener;
      return this;
    }

    /**
     * Checks the settings.
     *
     * @throws IllegalArgumentException naming all that are wrong
     */
    public Pretrainer build() {
      List<String> problems = new ArrayList<>();
      require(problems, !data.isEmpty(), "there is no data file");
      require(problems, steps.orElse(1) >= 1, "steps must be at least 1");
      require(problems, epochs >= 1, "epochs must be at least 1");
      require(problems, microBatches >= 1, "micro-batches must be at least 1");
      int ranks = world.map(WorldSettings::worldSize).orElse(1);
      require(
          problems,
          batch >= 1 && microBatches >= 1 && batch % (ranks * microBatches) == 0,
          "a batch of %d cannot be divided among %d processes with %d micro-batches each"
              .formatted(batch, ranks, microBatches));
      double rate = learningRate == null ? defaultRate() : learningRate;
      require(problems, rate > 0 && Double.isFinite(rate), "the learning rate is " + rate);
      require(problems, warmup.orElse(0) >= 0, "warm-up must be 0 steps or more");
      require(
          problems,
          steps.isEmpty() || warmup.orElse(0) <= steps.getAsLong(),
          "warm-up must not be longer than the run");
      require(
          problems,
          weightDecay >= 0 && Double.isFinite(weightDecay),
          "the weight decay is " + weightDecay);
      require(problems, clip >= 0 && Double.isFinite(clip), "the clipping norm is " + clip);
      require(problems, maxTokens >= 2, "max tokens must be at least 2");
      require(
          problems,
          passageTokens == null || passageTokens >= 8,
          "passage tokens must be at least 8");
      require(problems, shuffleBuffer >= 1, "the shuffle buffer must hold at least 1 text");
      require(problems, heldOut >= 0 && heldOut < 1, "the held-out share must be in [0, 1)");
      require(problems, evaluateEvery >= 1, "evaluations must be at least 1 step apart");
      require(problems, evaluationTexts >= 1, "evaluation needs at least 1 text");
      require(problems, saveEvery >= 1, "checkpoints must be at least 1 step apart");
      require(problems, keep >= 1, "at least 1 checkpoint must stay");
      int lanes =
          threads == null
              ? Math.max(1, Runtime.getRuntime().availableProcessors() / ranks)
              : threads;
      require(problems, lanes >= 1, "threads must be at least 1");
      if (!problems.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", problems));
      }
      return new Pretrainer(
          new PretrainSettings(
              model,
              data,
              out,
              recipe,
              weights == null ? recipe.weights() : weights,
              lora,
              trainMarkers,
              steps,
              epochs,
              batch,
              microBatches,
              rate,
              warmup,
              decay,
              weightDecay,
              clip,
              maxTokens,
              passageTokens == null ? 0 : passageTokens,
              shuffleBuffer,
              stopWords,
              stripTargets == null ? recipe.stripsTargets() : stripTargets,
              badLines,
              heldOut,
              evaluateEvery,
              evaluationTexts,
              saveEvery,
              keep,
              seed,
              lanes,
              computeType,
              recompute,
              visibleSelf,
              world,
              listener));
    }

    private double defaultRate() {
      if (recipe == Recipe.LM) {
        return 5e-4;
      }
      return lora.isPresent() ? 1e-4 : 1e-5;
    }

    private static void require(List<String> problems, boolean holds, String problem) {
      if (!holds) {
        problems.add(problem);
      }
    }
  }
}
