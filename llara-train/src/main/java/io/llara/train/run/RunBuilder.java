package io.llara.train.run;

import io.llara.ComputeType;
import io.llara.Internal;
import io.llara.kernels.Accelerators;
import io.llara.prompt.PromptTemplate;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.train.Trainer;
import io.llara.train.TrainingListener;
import io.llara.train.data.BadLines;
import io.llara.train.data.Dataset;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.lora.LoraOptions;
import io.llara.train.optim.LearningRateSchedule;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Collects the settings that all kinds of training have: the builders of the trainers extend it.
 * Not thread-safe.
 *
 * @param <B> the builder itself, which every setter returns
 */
public abstract class RunBuilder<B extends RunBuilder<B>> {
  /** The length that longer gradients are scaled down to by default. */
  public static final double DEFAULT_CLIP = 1;

  /** How many texts are shuffled together by default. */
  public static final int DEFAULT_SHUFFLE_BUFFER = 4096;

  /** The steps between evaluations by default. */
  public static final long DEFAULT_EVALUATE_EVERY = 100;

  /** The steps between checkpoints by default. */
  public static final long DEFAULT_SAVE_EVERY = 100;

  /** The random seed by default. */
  public static final long DEFAULT_SEED = 42;

  private final Path model;
  private final List<Path> data;
  private final Path out;
  private Optional<LoraOptions> lora = Optional.of(LoraOptions.DEFAULT);
  private Optional<Path> adapter = Optional.empty();
  private boolean trainMarkers;
  private Optional<PromptTemplate> template = Optional.empty();
  private OptionalLong steps = OptionalLong.empty();
  private long epochs = 1;
  private int batch;
  private @Nullable Double learningRate;
  private OptionalLong warmup = OptionalLong.empty();
  private OptionalDouble warmupRatio = OptionalDouble.empty();
  private LearningRateSchedule.Warmup warmupShape = LearningRateSchedule.Warmup.LINEAR;
  private LearningRateSchedule.Decay decay = LearningRateSchedule.Decay.LINEAR;
  private double weightDecay;
  private double clip = DEFAULT_CLIP;
  private int shuffleBuffer = DEFAULT_SHUFFLE_BUFFER;
  private List<Double> weights = List.of();
  private boolean oneSourceBatches;
  private BadLines badLines = BadLines.REFUSE;
  private double heldOut;
  private long evaluateEvery = DEFAULT_EVALUATE_EVERY;
  private int evaluationTexts = 256;
  private RunOptions.Retrieval retrieval =
      new RunOptions.Retrieval(List.of(), BeirEvaluator.DEFAULT_SPLIT);
  private long saveEvery = DEFAULT_SAVE_EVERY;
  private int keep = 2;
  private long seed = DEFAULT_SEED;
  private @Nullable Integer threads;
  private ComputeType computeType = ComputeType.AUTO;
  private boolean recompute;
  private String device = Accelerators.CPU;
  private Optional<WorldSettings> world = Optional.empty();
  private TrainingListener listener = TrainingListener.NONE;

  /**
   * Begins to describe a run.
   *
   * @param batch the examples of a step by default
   * @param trainMarkers whether with LoRA the markers train too by default
   */
  @Internal
  protected RunBuilder(Path model, List<Path> data, Path out, int batch, boolean trainMarkers) {
    this.model = model;
    this.data = List.copyOf(data);
    this.out = out;
    this.batch = batch;
    this.trainMarkers = trainMarkers;
  }

  /** Returns this builder. */
  @Internal
  protected abstract B self();

  /** Trains low-rank updates of the projections: the default, with {@link LoraOptions#DEFAULT}. */
  public B lora(LoraOptions options) {
    this.lora = Optional.of(options);
    return self();
  }

  /**
   * Trains the low-rank updates of an adapter of the PEFT library further, instead of new ones: its
   * ranks, scales and modules stay. Of {@link #lora} the dropout counts.
   */
  public B adapter(Path dir) {
    this.adapter = Optional.of(dir);
    return self();
  }

  /** Trains all parameters. */
  public B fullParameters() {
    this.lora = Optional.empty();
    return self();
  }

  /**
   * Sets whether with LoRA the embeddings of the markers in the prompts train too, while the rest
   * of the matrix is frozen; by default they do when a model is adapted, and do not when it is
   * fine-tuned, as in the released recipe: the adapter then is LoRA's factors alone, otherwise it
   * brings the whole embedding matrix with it. Where the matrix is the head's as well, their rows
   * of the head are shared; a head of its own stays frozen.
   */
  public B trainMarkers(boolean train) {
    this.trainMarkers = train;
    return self();
  }

  /** Sets the prompts; the trainers say which they take by default. */
  public B template(PromptTemplate template) {
    this.template = Optional.of(template);
    return self();
  }

  /** Sets the number of steps; by default as many as {@link #epochs} make. */
  public B steps(long steps) {
    this.steps = OptionalLong.of(steps);
    return self();
  }

  /**
   * Sets how often the data is gone through when no number of steps is given; 1 by default. The
   * data is read once before the run to count its texts.
   */
  public B epochs(long epochs) {
    this.epochs = epochs;
    this.steps = OptionalLong.empty();
    return self();
  }

  /**
   * Sets the examples of a step, over all processes and all parts that a batch is run in; 16 by
   * default.
   */
  public B batch(int examples) {
    this.batch = examples;
    return self();
  }

  /**
   * Sets the highest learning rate; by default 1e-4 with LoRA, 1e-5 for all parameters, 5e-4 for
   * plain language modelling.
   */
  public B learningRate(double rate) {
    this.learningRate = rate;
    return self();
  }

  /** Sets over how many steps the learning rate rises; a thirtieth of the run by default. */
  public B warmup(long warmupSteps) {
    this.warmup = OptionalLong.of(warmupSteps);
    return self();
  }

  /** Sets over which share of the run the learning rate rises, in [0, 1]; rounded up to steps. */
  public B warmupRatio(double ratio) {
    this.warmupRatio = OptionalDouble.of(ratio);
    this.warmup = OptionalLong.empty();
    return self();
  }

  /** Sets how the learning rate rises; linearly by default. */
  public B warmupShape(LearningRateSchedule.Warmup shape) {
    this.warmupShape = shape;
    return self();
  }

  /** Sets how the learning rate falls after that; linearly by default. */
  public B decay(LearningRateSchedule.Decay decay) {
    this.decay = decay;
    return self();
  }

  /** Sets the weight decay of AdamW, on every trained parameter; 0 by default. */
  public B weightDecay(double decay) {
    this.weightDecay = decay;
    return self();
  }

  /**
   * Sets the length that longer gradients are scaled down to; {@value #DEFAULT_CLIP} by default, 0
   * for none.
   */
  public B clip(double maxNorm) {
    this.clip = maxNorm;
    return self();
  }

  /**
   * Sets how many texts are held in memory to mix the passages of documents, whose lines are drawn
   * from all files in random order; {@value #DEFAULT_SHUFFLE_BUFFER} by default. 1 keeps the order
   * of the files.
   */
  public B shuffleBuffer(int texts) {
    this.shuffleBuffer = texts;
    return self();
  }

  /**
   * Sets how often each line of a file is drawn in an epoch, file by file; once by default. See
   * {@link io.llara.train.data.Dataset#weighted}.
   */
  public B fileWeights(List<Double> ofFiles) {
    this.weights = List.copyOf(ofFiles);
    return self();
  }

  /**
   * Sets whether all examples of a batch, over all processes, come from one file; by default they
   * come from all. See {@link io.llara.train.data.OneSourceBatches}.
   */
  public B oneSourceBatches(boolean oneSource) {
    this.oneSourceBatches = oneSource;
    return self();
  }

  /** Sets what happens to lines that cannot be used; {@link BadLines#REFUSE} by default. */
  public B badLines(BadLines badLines) {
    this.badLines = badLines;
    return self();
  }

  /** Sets the share of the data that is held out and evaluated; 0 by default. */
  public B heldOut(double fraction) {
    this.heldOut = fraction;
    return self();
  }

  /**
   * Sets test collections that the model is evaluated on as it trains, every {@link #evaluateEvery}
   * steps and after the last; none by default. The model that has the best nDCG@10, the mean over
   * them as {@link io.llara.retrieval.eval.BeirSuite} has it, is kept in {@code best} below the
   * directory of the run, which gets the model of the last step as always. A collection that
   * chooses the model is no test of it any more: take a development split.
   *
   * @param folders in BEIR format, or folders of such, which count as one
   * @param split whose judgements are read
   */
  public B evaluateRetrieval(List<Path> folders, String split) {
    this.retrieval = new RunOptions.Retrieval(List.copyOf(folders), split);
    return self();
  }

  /**
   * Sets after how many steps held-out texts are evaluated, beside before the first and after the
   * last; {@value #DEFAULT_EVALUATE_EVERY} by default.
   */
  public B evaluateEvery(long steps) {
    this.evaluateEvery = steps;
    return self();
  }

  /** Sets the most held-out texts that are evaluated; 256 by default. */
  public B evaluationTexts(int texts) {
    this.evaluationTexts = texts;
    return self();
  }

  /** Sets after how many steps a checkpoint is saved; {@value #DEFAULT_SAVE_EVERY} by default. */
  public B saveEvery(long steps) {
    this.saveEvery = steps;
    return self();
  }

  /** Sets how many checkpoints stay; 2 by default. */
  public B keep(int checkpoints) {
    this.keep = checkpoints;
    return self();
  }

  /** Sets the seed of all random numbers; {@value #DEFAULT_SEED} by default. */
  public B seed(long seed) {
    this.seed = seed;
    return self();
  }

  /**
   * Sets the number of lanes; by default as many as there are processors, divided among the
   * processes, or one if the device is a GPU.
   */
  public B threads(int lanes) {
    this.threads = lanes;
    return self();
  }

  /**
   * Sets the type to compute in, neither {@code INT8}, {@code FLOAT16} nor {@code FLOAT8}; {@link
   * ComputeType#AUTO} by default. The optimiser's values, the sums of gradients and the losses are
   * float32 in any case.
   */
  public B computeType(ComputeType type) {
    this.computeType = type;
    return self();
  }

  /**
   * Sets whether layers are run again in the backward pass instead of being kept (activation
   * checkpointing): slower by a third, for far less memory. Off by default.
   */
  public B recompute(boolean recompute) {
    this.recompute = recompute;
    return self();
  }

  /**
   * Sets the device to train on: {@code cpu}, the default; {@code cuda}, {@code cuda:1} or {@code
   * auto} as {@link io.llara.EncoderBuilder#device} takes them. A process trains on one GPU. Of
   * several processes on a machine each takes one of its own, by its local rank: of all there are
   * for {@code cuda}, of those named for {@code cuda:0,2}.
   *
   * <p>A run begins with a {@link io.llara.DeviceException} if there is no such device or it does
   * not work, and with an {@link io.llara.OutOfDeviceMemoryException} before anything is loaded if
   * weights, optimiser and batches do not fit into what is free of its memory.
   */
  public B device(String name) {
    this.device = name;
    return self();
  }

  /** Makes this process one of several; alone by default. */
  public B world(WorldSettings world) {
    this.world = Optional.of(world);
    return self();
  }

  /** Sets the listener. */
  public B listener(TrainingListener listener) {
    this.listener = listener;
    return self();
  }

  /**
   * Checks the settings; nothing is read or written yet.
   *
   * @throws IllegalArgumentException naming all that are wrong
   */
  public abstract Trainer build();

  /** Adds a problem if a process cannot run its share of a batch in so many equal parts. */
  @Internal
  protected final void requireDivisible(List<String> problems, int parts) {
    require(
        problems,
        batch >= 1 && parts >= 1 && batch % (ranks() * parts) == 0,
        "a batch of %d cannot be divided among %d processes with %d micro-batches each"
            .formatted(batch, ranks(), parts));
  }

  private int ranks() {
    return world.map(WorldSettings::worldSize).orElse(1);
  }

  /**
   * Checks the options and fills in the defaults.
   *
   * @param fullRate the default learning rate for all parameters
   * @param loraRate the default learning rate with LoRA
   * @param problems gets what is wrong; others may be in it already
   * @throws IllegalArgumentException naming all problems, if there are any
   */
  @Internal
  protected final RunOptions options(double fullRate, double loraRate, List<String> problems) {
    double defaultRate = lora.isPresent() ? loraRate : fullRate;
    double rate = learningRate == null ? defaultRate : learningRate;
    require(problems, !data.isEmpty(), "there is no data file");
    require(
        problems,
        !Set.of(ComputeType.INT8, ComputeType.FLOAT16, ComputeType.FLOAT8).contains(computeType),
        "int8, float16 and float8 are for encoding; models are trained in float32 or bfloat16");
    require(
        problems,
        adapter.isEmpty() || lora.isPresent(),
        "an adapter is trained with LoRA, not with all parameters");
    require(problems, steps.orElse(1) >= 1, "steps must be at least 1");
    require(problems, epochs >= 1, "epochs must be at least 1");
    require(problems, rate > 0 && Double.isFinite(rate), "the learning rate is " + rate);
    require(problems, warmup.orElse(0) >= 0, "warm-up must be 0 steps or more");
    require(
        problems,
        warmupRatio.orElse(0) >= 0 && warmupRatio.orElse(0) <= 1,
        "the share of the warm-up must be in [0, 1]");
    require(
        problems,
        steps.isEmpty() || warmup.orElse(0) <= steps.getAsLong(),
        "warm-up must not be longer than the run");
    require(
        problems,
        weightDecay >= 0 && Double.isFinite(weightDecay),
        "the weight decay is " + weightDecay);
    require(problems, clip >= 0 && Double.isFinite(clip), "the clipping norm is " + clip);
    require(problems, shuffleBuffer >= 1, "the shuffle buffer must hold at least 1 text");
    require(
        problems,
        weights.stream().allMatch(weight -> weight > 0 && weight <= 1000),
        "the weights of files must be more than 0, and 1000 at most: " + weights);
    require(
        problems,
        weights.isEmpty() || shuffleBuffer > 1,
        "a shuffle buffer of 1 keeps the order of the files; weights need a larger one");
    require(problems, heldOut >= 0 && heldOut < 1, "the held-out share must be in [0, 1)");
    require(problems, evaluateEvery >= 1, "evaluations must be at least 1 step apart");
    require(problems, evaluationTexts >= 1, "evaluation needs at least 1 text");
    require(problems, saveEvery >= 1, "checkpoints must be at least 1 step apart");
    require(problems, keep >= 1, "at least 1 checkpoint must stay");
    require(problems, threads == null || threads >= 1, "threads must be at least 1");
    require(
        problems,
        Accelerators.isName(device),
        "device is \"%s\"; expected cpu, auto, cuda, or such as cuda:0 or cuda:0,1"
            .formatted(device));
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(String.join("; ", problems));
    }
    List<Path> files = Dataset.filesIn(data);
    if (!weights.isEmpty() && weights.size() != files.size()) {
      throw new IllegalArgumentException(
          "%d weights for %d files".formatted(weights.size(), files.size()));
    }
    return new RunOptions(
        new RunOptions.Model(model, lora, trainMarkers, adapter, template),
        new RunOptions.Data(
            files,
            badLines,
            batch,
            shuffleBuffer,
            heldOut,
            evaluationTexts,
            new RunOptions.Mixture(weights, oneSourceBatches)),
        new RunOptions.Optimization(
            steps,
            epochs,
            rate,
            new RunOptions.Warmup(warmup, warmupRatio, warmupShape),
            decay,
            weightDecay,
            clip),
        new RunOptions.Output(out, saveEvery, keep, evaluateEvery, retrieval, listener),
        new RunOptions.Compute(
            threads == null ? OptionalInt.empty() : OptionalInt.of(threads),
            computeType,
            recompute,
            device,
            world),
        seed);
  }

  /** Adds a problem unless something holds. */
  @Internal
  protected static void require(List<String> problems, boolean holds, String problem) {
    if (!holds) {
      problems.add(problem);
    }
  }
}
