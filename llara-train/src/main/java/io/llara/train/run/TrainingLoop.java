package io.llara.train.run;

import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.Internal;
import io.llara.train.RunInfo;
import io.llara.train.StepReport;
import io.llara.train.TrainingException;
import io.llara.train.TrainingListener;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import io.llara.train.distributed.Communicator;
import io.llara.train.distributed.GradientBuckets;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.optim.GradientClipping;
import io.llara.train.optim.LearningRateSchedule;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.function.BooleanSupplier;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;

/**
 * The loop that all kinds of training share: draw a batch, differentiate, sum over processes, clip,
 * update, record, save. It begins at the newest whole checkpoint, if there is one, with the same
 * numbers as if it had never ended.
 *
 * <p>For one thread. What the run is about is its {@link Objective}'s business.
 */
@Internal
public final class TrainingLoop implements AutoCloseable {
  /** The file of the steps' losses, in the run's directory. */
  public static final String METRICS = "metrics.jsonl";

  /** The file of the held-out losses. */
  public static final String EVALUATIONS = "evaluation.jsonl";

  private static final long BUCKET_BYTES = 25 << 20;
  private static final String PARAMETER = "parameter/";
  private static final double MILLIARD = 1e9;

  private final Plan plan;
  private final TrainedModel model;
  private final Objective objective;
  private final Interlude interlude;
  private final Lanes lanes;
  private final Communicator communicator;
  private final Path out;
  private final Map<String, String> settings;
  private final TrainingListener listener;
  private final List<Parameter> parameters;
  private final LaneOptimizer optimizer;
  private final GradientBuckets buckets;
  private final GradientAccumulator gradients;
  private final CheckpointStore checkpoints;

  /** Writes files: an interrupt closes the file that its thread is at, and must not reach them. */
  private final Lanes writer = new Lanes(1);

  private long step;

  /** The last step whose state is on disk, or before the first. */
  private long savedStep = -1;

  /**
   * What is to be done.
   *
   * @param steps how many steps the whole run has, at least 1
   * @param schedule the learning rate of each step
   * @param optimizer the optimiser's settings
   * @param maxNorm what longer gradients are scaled down to; 0 for no clipping
   * @param saveEvery after how many steps a checkpoint is saved, at least 1
   * @param keep how many checkpoints stay, at least 1
   * @param evaluateEvery after how many steps held-out texts are evaluated; 0 for never
   */
  public record Plan(
      long steps,
      LearningRateSchedule schedule,
      AdamW.Settings optimizer,
      double maxNorm,
      long saveEvery,
      int keep,
      long evaluateEvery) {}

  /**
   * Prepares a run.
   *
   * @param interlude what is done between steps
   * @param lanes the threads that update the parameters; they stay the caller's
   * @param out where metrics and checkpoints go
   * @param settings what the run was started with, kept in its checkpoints
   */
  public TrainingLoop(
      Plan plan,
      TrainedModel model,
      Objective objective,
      Interlude interlude,
      Lanes lanes,
      Communicator communicator,
      Path out,
      Map<String, String> settings,
      TrainingListener listener) {
    this.plan = plan;
    this.model = model;
    this.objective = objective;
    this.interlude = interlude;
    this.communicator = communicator;
    this.out = out;
    this.settings = Map.copyOf(settings);
    this.listener = listener;
    this.parameters = model.parameters();
    this.lanes = lanes;
    this.optimizer = new LaneOptimizer(parameters, plan.optimizer(), lanes);
    this.buckets =
        new GradientBuckets(
            communicator,
            parameters.stream().mapToLong(Parameter::elements).toArray(),
            BUCKET_BYTES);
    this.gradients =
        new GradientAccumulator(parameters, (gradient, index) -> buckets.ready(index, gradient));
    this.checkpoints = new CheckpointStore(out, plan.keep());
  }

  /**
   * Puts the state of the newest whole checkpoint into model and optimiser.
   *
   * @return how many examples it had drawn, and which damaged checkpoints were passed over
   */
  public Resumed resume() {
    Optional<CheckpointStore.Saved> newest = checkpoints.newest();
    if (newest.isEmpty()) {
      return new Resumed(0, List.of());
    }
    CheckpointStore.Saved saved = newest.get();
    for (Parameter parameter : parameters) {
      try (Tensor value = saved.load(PARAMETER + parameter.name())) {
        parameter.set(value);
      }
    }
    model.refresh();
    step = saved.state().step();
    savedStep = step;
    optimizer.restore(step, saved::load);
    return new Resumed(saved.state().position(), saved.skipped());
  }

  /** Where a run goes on. */
  public record Resumed(long position, List<String> skippedCheckpoints) {}

  /** Returns the last step that was made. */
  public long step() {
    return step;
  }

  /**
   * Makes the steps that are left.
   *
   * @param stopRequested asked before each step, by this thread; any process can stop all
   * @return whether all steps are made; otherwise a checkpoint was saved
   * @throws TrainingException if the loss or the gradient is not a number
   */
  public boolean run(Resumed resumed, BooleanSupplier stopRequested) {
    boolean first = communicator.rank() == 0;
    if (first) {
      undisturbed(
          () -> {
            MetricsLog.cutBack(out.resolve(METRICS), step);
            // The one before the first step is made again if that is where it begins.
            MetricsLog.cutBack(out.resolve(EVALUATIONS), step == 0 ? -1 : step);
          });
    }
    listener.started(
        new RunInfo(
            step + 1,
            plan.steps(),
            parameters.stream().mapToLong(Parameter::elements).sum(),
            lanes.count(),
            communicator.size(),
            resumed.skippedCheckpoints()));
    try (NoGradGuard noGrad = new NoGradGuard();
        Records records = undisturbed(() -> new Records(first))) {
      if (step == 0) {
        evaluate(records);
      }
      while (step < plan.steps()) {
        if (communicator.any(stopRequested.getAsBoolean())) {
          save(records);
          return false;
        }
        if (interlude.isDue(step)) {
          if (step != savedStep) {
            save(records);
          }
          if (!interlude.run(step, stopRequested)) {
            return false;
          }
        }
        step(records);
        boolean last = step == plan.steps();
        if (plan.evaluateEvery() > 0 && (last || step % plan.evaluateEvery() == 0)) {
          evaluate(records);
        }
        if (last || step % plan.saveEvery() == 0) {
          save(records);
        }
      }
      return true;
    }
  }

  private void step(Records records) {
    long begin = System.nanoTime();
    double[] counts = communicator.allReduce(objective.draw());
    gradients.begin(objective.contributors());
    double[] mine = objective.run(step + 1, counts, gradients);
    buckets.finish();
    double[] sums = communicator.allReduce(mine);
    Map<String, Double> terms = objective.terms(sums, counts);
    List<Tensor> totals = gradients.totals();
    double norm =
        plan.maxNorm() > 0
            ? GradientClipping.clip(totals, plan.maxNorm())
            : GradientClipping.globalNorm(totals);
    requireFinite(terms, norm);
    double learningRate = plan.schedule().at(step + 1);
    optimizer.step(totals, learningRate);
    model.refreshRows();
    step++;
    long tokens = (long) communicator.allReduce(new double[] {objective.tokens()})[0];
    StepReport report =
        new StepReport(
            step,
            plan.steps(),
            terms,
            learningRate,
            norm,
            tokens,
            (System.nanoTime() - begin) / MILLIARD);
    records.metrics(report);
    listener.step(report);
  }

  private void requireFinite(Map<String, Double> terms, double norm) {
    if (areFinite(terms) && Double.isFinite(norm)) {
      return;
    }
    throw new TrainingException(
        "step %d: the loss is no finite number (%s, gradient norm %s); the last checkpoint is kept. The batch: %s"
            .formatted(step + 1, terms, norm, objective.describeBatch()));
  }

  private static boolean areFinite(Map<String, Double> terms) {
    return terms.values().stream().allMatch(Double::isFinite);
  }

  private void evaluate(Records records) {
    Objective.Evaluation evaluation = objective.evaluation();
    if (!communicator.any(evaluation.present())) {
      return;
    }
    double[] counts = communicator.allReduce(evaluation.counts());
    double[] sums = communicator.allReduce(evaluation.run());
    Map<String, Double> terms = objective.terms(sums, counts);
    if (!areFinite(terms)) {
      throw new TrainingException(
          "step %d: the loss of the held-out texts is no finite number (%s); the last checkpoint is kept"
              .formatted(step, terms));
    }
    records.evaluation(step, terms);
    listener.evaluated(step, terms);
  }

  private void save(Records records) {
    if (communicator.rank() == 0) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      parameters.forEach(
          parameter -> tensors.put(PARAMETER + parameter.name(), parameter.master()));
      tensors.putAll(optimizer.state());
      TrainingState state =
          new TrainingState(step, objective.position(), settings, Manifest.llaraVersion());
      Path saved =
          undisturbed(
              () -> {
                records.force();
                return checkpoints.save(state, tensors);
              });
      listener.saved(step, saved);
    }
    communicator.barrier();
    savedStep = step;
  }

  private <T> T undisturbed(Callable<T> work) {
    return writer.run(List.of(work)).get(0);
  }

  private void undisturbed(Runnable work) {
    undisturbed(Executors.callable(work, true));
  }

  @Override
  public void close() {
    writer.close();
    gradients.close();
    buckets.close();
    optimizer.close();
  }

  /** What the first process writes as the run goes on. */
  private final class Records implements AutoCloseable {
    private final Optional<MetricsLog> metrics;
    private final Optional<MetricsLog> evaluations;

    Records(boolean write) {
      metrics = write ? Optional.of(new MetricsLog(out.resolve(METRICS))) : Optional.empty();
      evaluations =
          write && objective.evaluation().present()
              ? Optional.of(new MetricsLog(out.resolve(EVALUATIONS)))
              : Optional.empty();
    }

    void metrics(StepReport report) {
      metrics.ifPresent(
          log -> {
            JsonObject line = line(report.step(), report.terms());
            line.addProperty("learning_rate", report.learningRate());
            line.addProperty("gradient_norm", report.gradientNorm());
            line.addProperty("tokens", report.tokens());
            line.addProperty("seconds", report.seconds());
            append(log, line);
          });
    }

    /** A checkpoint must not be ahead of them, should the machine stop. */
    void force() {
      metrics.ifPresent(MetricsLog::force);
      evaluations.ifPresent(MetricsLog::force);
    }

    void evaluation(long afterStep, Map<String, Double> terms) {
      evaluations.ifPresent(log -> append(log, line(afterStep, terms)));
    }

    private void append(MetricsLog log, JsonObject line) {
      undisturbed(() -> log.append(line));
    }

    private JsonObject line(long number, Map<String, Double> terms) {
      JsonObject line = new JsonObject();
      line.addProperty("step", number);
      for (String name : objective.termNames()) {
        Double value = terms.get(name);
        line.add(name, value == null ? JsonNull.INSTANCE : new JsonPrimitive(value));
      }
      return line;
    }

    @Override
    public void close() {
      metrics.ifPresent(MetricsLog::close);
      evaluations.ifPresent(MetricsLog::close);
    }
  }
}
