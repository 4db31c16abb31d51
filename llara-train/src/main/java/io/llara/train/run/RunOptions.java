package io.llara.train.run;

import io.llara.ComputeType;
import io.llara.DeviceException;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.OutOfDeviceMemoryException;
import io.llara.kernels.Accelerator;
import io.llara.kernels.Accelerators;
import io.llara.prompt.PromptTemplate;
import io.llara.tensor.Cpu;
import io.llara.train.TrainingListener;
import io.llara.train.data.BadLines;
import io.llara.train.distributed.WorldSettings;
import io.llara.train.lora.LoraOptions;
import io.llara.train.optim.AdamW;
import io.llara.train.optim.LearningRateSchedule;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * The options that all kinds of training have, checked and with every default filled in. {@link
 * RunBuilder} says what each of them means.
 */
@Internal
public record RunOptions(
    Model model, Data data, Optimization optimization, Output output, Compute compute, long seed) {

  /** What makes a step need less memory, for messages. */
  static final String LESS_MEMORY =
      "recompute, a smaller batch, more micro-batches or a sub-batch, or shorter texts";

  /**
   * What trains.
   *
   * @param path the checkpoint to begin with
   * @param lora the low-rank updates; empty to train all parameters
   * @param adapter whose low-rank updates are trained further; of {@code lora} the dropout counts
   * @param template the prompts, if they were asked for
   */
  public record Model(
      Path path,
      Optional<LoraOptions> lora,
      boolean trainMarkers,
      Optional<Path> adapter,
      Optional<PromptTemplate> template) {

    /** Returns what is trained, as the settings of a run say it. */
    private String spelled() {
      if (lora.isEmpty()) {
        return "all parameters";
      }
      return adapter
          .map(Path::toAbsolutePath)
          .map(dir -> "adapter %s, dropout %s".formatted(dir.normalize(), lora.get().dropout()))
          .orElse(lora.get().toString());
    }
  }

  /** What it trains on. */
  public record Data(
      List<Path> files,
      BadLines badLines,
      int batch,
      int shuffleBuffer,
      double heldOut,
      int evaluationTexts,
      Mixture mixture) {}

  /**
   * How several files are mixed.
   *
   * @param weights how often the lines of each file are drawn in an epoch; none for once each
   * @param oneSource whether a batch comes from one file
   */
  public record Mixture(List<Double> weights, boolean oneSource) {
    /** All lines once, in one order. */
    public static final Mixture EVEN = new Mixture(List.of(), false);
  }

  /** How it trains. */
  public record Optimization(
      OptionalLong steps,
      long epochs,
      double learningRate,
      Warmup warmup,
      LearningRateSchedule.Decay decay,
      double weightDecay,
      double clip) {

    /** Returns the learning rate of each step. */
    LearningRateSchedule schedule(long totalSteps) {
      return new LearningRateSchedule(
          learningRate, warmup.of(totalSteps), totalSteps, warmup.shape(), decay);
    }

    AdamW.Settings adamW() {
      AdamW.Settings defaults = AdamW.Settings.DEFAULT;
      return new AdamW.Settings(defaults.beta1(), defaults.beta2(), defaults.eps(), weightDecay);
    }
  }

  /**
   * How the learning rate rises.
   *
   * @param steps over how many steps
   * @param ratio if that is not said, over which share of them, rounded up; by default a thirtieth,
   *     rounded down
   */
  public record Warmup(
      OptionalLong steps, OptionalDouble ratio, LearningRateSchedule.Warmup shape) {
    /** Returns over how many steps of a run it rises. */
    public long of(long totalSteps) {
      return steps.orElseGet(
          () ->
              ratio.isPresent()
                  ? (long) Math.ceil(totalSteps * ratio.getAsDouble())
                  : totalSteps / 30);
    }
  }

  /** What it writes, and who follows it. */
  public record Output(
      Path directory,
      long saveEvery,
      int keep,
      long evaluateEvery,
      Retrieval retrieval,
      TrainingListener listener) {}

  /** What is searched to evaluate the model. */
  public record Retrieval(List<Path> folders, String split) {}

  /**
   * What it computes with.
   *
   * @param lanes how many lanes, if that was said
   * @param device as {@link Accelerators#openOne} takes it
   */
  public record Compute(
      OptionalInt lanes,
      ComputeType type,
      boolean recompute,
      String device,
      Optional<WorldSettings> world) {

    /**
     * Returns the device of this process; empty for the processor. Of several processes on a
     * machine each has one of its own.
     *
     * @throws DeviceException if it cannot be used
     */
    public Optional<Accelerator> accelerator() {
      return ranks() == 1
          ? Accelerators.open(device)
          : Accelerators.openOne(device, world.orElseThrow().localRank());
    }

    /** Returns how many lanes there are: one for a device, otherwise one for each processor. */
    public int threads() {
      return lanes.orElseGet(
          () ->
              accelerator().isPresent()
                  ? 1
                  : Math.max(1, Runtime.getRuntime().availableProcessors() / ranks()));
    }

    /**
     * Returns the type it computes in, never {@code AUTO}.
     *
     * @throws DeviceException if the device does not compute in the type that was asked for
     */
    public ComputeType resolved() {
      return accelerator().map(found -> found.resolve(type)).orElseGet(() -> Cpu.resolve(type));
    }

    /** Returns what a failure is to be reported as: what the device makes of it, if it does. */
    RuntimeException explained(RuntimeException failure) {
      if (failure instanceof LlaraException) {
        return failure;
      }
      return accelerator()
          .flatMap(found -> found.explain(failure))
          .<RuntimeException>map(
              explained ->
                  explained instanceof OutOfDeviceMemoryException
                      ? new OutOfDeviceMemoryException(
                          "%s; choose %s".formatted(explained.getMessage(), LESS_MEMORY), failure)
                      : explained)
          .orElse(failure);
    }

    /** Returns the number of processes. */
    public int ranks() {
      return world.map(WorldSettings::worldSize).orElse(1);
    }

    /** Returns the number of this process, from 0. */
    public int rank() {
      return world.map(WorldSettings::rank).orElse(0);
    }
  }

  /**
   * Returns by name what decides the results of a run, as {@code run.json} and checkpoints have it:
   * what must be the same when the run goes on.
   *
   * @param own the options of one kind of training, which follow the model
   */
  Map<String, String> deciding(long totalSteps, Map<String, String> own) {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("model", model.path().toAbsolutePath().normalize().toString());
    values.putAll(own);
    values.put("train", model.spelled());
    values.put("train markers", String.valueOf(model.trainMarkers()));
    values.put("steps", String.valueOf(totalSteps));
    values.put("batch", String.valueOf(data.batch()));
    values.put("learning rate", String.valueOf(optimization.learningRate()));
    values.put("warm-up steps", String.valueOf(optimization.schedule(totalSteps).warmupSteps()));
    if (optimization.warmup().shape() != LearningRateSchedule.Warmup.LINEAR) {
      values.put("warm-up", optimization.warmup().shape().toString());
    }
    values.put("decay", optimization.decay().toString());
    values.put("weight decay", String.valueOf(optimization.weightDecay()));
    values.put("clip", String.valueOf(optimization.clip()));
    values.put(
        "shuffle buffer", data.shuffleBuffer() + (data.shuffleBuffer() == 1 ? "" : ", all lines"));
    if (!data.mixture().weights().isEmpty()) {
      values.put("weights of files", data.mixture().weights().toString());
    }
    if (data.mixture().oneSource()) {
      values.put("batches", "of one source");
    }
    values.put("bad lines", data.badLines().toString());
    values.put("held out", String.valueOf(data.heldOut()));
    values.put("seed", String.valueOf(seed));
    values.put("threads", String.valueOf(compute.threads()));
    values.put("compute type", compute.resolved().toString());
    // Another kind of device rounds in other places.
    compute
        .accelerator()
        .ifPresent(device -> values.put("device", device.name().replaceFirst(":.*", "")));
    values.put("processes", String.valueOf(compute.ranks()));
    return values;
  }
}
