package io.llara.train.run;

import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.Internal;
import io.llara.train.RunInfo;
import io.llara.train.StepReport;
import io.llara.train.TrainingException;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import io.llara.train.distributed.Communicator;
import io.llara.train.distributed.GradientBuckets;
import io.llara.train.distributed.Lanes;
import io.llara.train.lora.Dropout;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.optim.GradientClipping;
import io.llara.train.optim.LearningRateSchedule;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;

/**
 * The loop that all kinds of training share: draw a batch, run it forward and backward, sum the
 * gradients over processes, clip, update, record, save. It begins at the newest whole checkpoint,
 * if there is one, with the same results as if it had never ended.
 *
 * <p>For one thread.
 *
 * @param <E> the examples of a batch
 */
@Internal
public final class TrainingLoop<E extends TrainingExample> implements AutoCloseable {
  /** The file of the steps' losses, in the run's directory. */
  public static final String METRICS = "metrics.jsonl";

  /** The file of the held-out losses. */
  public static final String EVALUATIONS = "evaluation.jsonl";

  private static final long BUCKET_BYTES = 25 << 20;
  private static final String PARAMETER = "parameter/";

  private final RunDirectory directory;
  private final RunOptions options;
  private final TrainedModel model;
  private final Examples<?, E> examples;
  private final Objective<E> objective;
  private final Workers workers;
  private final Communicator communicator;
  private final TrainingListener listener;
  private final List<Parameter> parameters;
  private final LearningRateSchedule schedule;
  private final AdamW optimizer;
  private final GradientBuckets buckets;
  private final GradientAccumulator gradients;
  private final CheckpointStore checkpoints;

  /** Writes files: an interrupt closes the file that its thread is at, and must not reach them. */
  private final Lanes writer;

  /** The last step that was made. */
  private long step;

  /** The last step whose state is on disk, or before the first. */
  private long savedStep = -1;

  /** Prepares a run. What it is given stays the caller's. */
  public TrainingLoop(
      RunDirectory directory,
      TrainedModel model,
      Examples<?, E> examples,
      Objective<E> objective,
      Workers workers) {
    this.directory = directory;
    this.writer = new Lanes(1, directory.options().compute().accelerator());
    this.options = directory.options();
    this.model = model;
    this.examples = examples;
    this.objective = objective;
    this.workers = workers;
    this.communicator = workers.communicator();
    this.listener = options.output().listener();
    // Gradients of the loss's own are final last: in front, as those of an embedding matrix.
    this.parameters = new ArrayList<>(objective.parameters());
    parameters.addAll(model.parameters());
    this.schedule = options.optimization().schedule(directory.steps());
    this.optimizer = new AdamW(parameters, options.optimization().adamW(), workers.lanes());
    this.buckets =
        new GradientBuckets(
            communicator,
            parameters.stream().mapToLong(Parameter::elements).toArray(),
            BUCKET_BYTES);
    this.gradients =
        new GradientAccumulator(parameters, (gradient, index) -> buckets.ready(index, gradient));
    this.checkpoints = new CheckpointStore(directory.path(), options.output().keep());
  }

  /**
   * Makes the steps that are left.
   *
   * @param hooks what is done between steps
   * @param stopRequested polled before each step, by this thread; any process can stop all
   * @param writeModel writes the trained model; called by the first process when all steps are made
   * @throws TrainingException if the loss or the gradient is not finite
   */
  public TrainingResult run(
      List<StepHook> hooks, BooleanSupplier stopRequested, Runnable writeModel) {
    try {
      return steps(hooks, stopRequested, writeModel);
    } catch (RuntimeException e) {
      throw options.compute().explained(e);
    }
  }

  private TrainingResult steps(
      List<StepHook> hooks, BooleanSupplier stopRequested, Runnable writeModel) {
    List<String> skipped = resume();
    hooks.forEach(hook -> hook.resume(step));
    if (workers.isFirst()) {
      writer.run(this::cutBackRecords);
    }
    listener.started(
        new RunInfo(
            step + 1,
            directory.steps(),
            parameters.stream().mapToLong(Parameter::elements).sum(),
            workers.lanes().count(),
            communicator.size(),
            skipped));
    boolean complete;
    try (NoGradGuard noGrad = new NoGradGuard();
        Records records = writer.call(Records::new)) {
      complete = train(hooks, stopRequested, records);
    }
    if (complete && workers.isFirst()) {
      writer.run(
          () -> {
            writeModel.run();
            directory.finish();
          });
    }
    communicator.barrier();
    return new TrainingResult(
        complete ? TrainingResult.Outcome.COMPLETED : TrainingResult.Outcome.STOPPED,
        step,
        directory.path(),
        RetrievalEvaluations.best(directory.path()));
  }

  /** Returns whether all steps are made; otherwise a checkpoint was saved. */
  private boolean train(List<StepHook> hooks, BooleanSupplier stopRequested, Records records) {
    if (step == 0) {
      evaluate(records);
    }
    while (step < directory.steps()) {
      if (communicator.any(stopRequested.getAsBoolean())) {
        save(records);
        return false;
      }
      for (StepHook hook : hooks) {
        if (hook.isDue(step)) {
          if (step != savedStep) {
            save(records);
          }
          if (!hook.run(step, stopRequested)) {
            return false;
          }
        }
      }
      long begin = System.nanoTime();
      List<E> batch = examples.nextBatch();
      double[] counts = communicator.allReduce(objective.counts(batch));
      gradients.begin(objective.contributors(batch));
      long key = Dropout.mix(options.seed() + step + 1);
      double[] sums = objective.train(batch, counts, key, gradients);
      buckets.finish();
      Map<String, Double> terms = objective.terms(communicator.allReduce(sums), counts);
      double clip = options.optimization().clip();
      double norm =
          GradientClipping.clip(gradients.totals(), clip > 0 ? clip : Double.POSITIVE_INFINITY);
      requireFinite(terms, norm, batch);
      double learningRate = schedule.at(step + 1);
      optimizer.step(gradients.totals(), learningRate);
      model.refreshRows();
      step++;
      double[] tokens = communicator.allReduce(batch.stream().mapToLong(E::tokens).sum());
      double seconds = (System.nanoTime() - begin) / 1e9;
      StepReport report =
          new StepReport(
              step, directory.steps(), terms, learningRate, norm, (long) tokens[0], seconds);
      records.metrics(report);
      listener.step(report);
      if (isDue(options.output().evaluateEvery())) {
        evaluate(records);
      }
      if (isDue(options.output().saveEvery())) {
        save(records);
      }
    }
    for (StepHook hook : hooks) {
      if (hook.isDueAtEnd()
          && (communicator.any(stopRequested.getAsBoolean()) || !hook.run(step, stopRequested))) {
        return false;
      }
    }
    return true;
  }

  private boolean isDue(long every) {
    return step == directory.steps() || step % every == 0;
  }

  private void requireFinite(Map<String, Double> terms, double norm, List<E> batch) {
    if (!areFinite(terms) || !Double.isFinite(norm)) {
      throw new TrainingException(
          "step %d: the loss is not finite (%s, gradient norm %s); the last checkpoint is kept. The batch: %s"
              .formatted(
                  step + 1,
                  terms,
                  norm,
                  batch.stream().map(E::origin).collect(Collectors.joining(", "))));
    }
  }

  private static boolean areFinite(Map<String, Double> terms) {
    return terms.values().stream().allMatch(Double::isFinite);
  }

  private void evaluate(Records records) {
    List<List<E>> batches = examples.heldOut();
    if (!communicator.any(!batches.isEmpty())) {
      return;
    }
    List<E> all = batches.stream().flatMap(List::stream).toList();
    double[] counts = communicator.allReduce(objective.counts(all));
    double[] sums = communicator.allReduce(objective.evaluate(batches));
    Map<String, Double> terms = objective.terms(sums, counts);
    if (!areFinite(terms)) {
      throw new TrainingException(
          "step %d: the loss of the held-out texts is not finite (%s); the last checkpoint is kept"
              .formatted(step, terms));
    }
    records.evaluation(terms);
    listener.evaluated(step, terms);
  }

  /**
   * Puts the state of the newest whole checkpoint into model and optimiser, and passes over the
   * examples it had drawn.
   *
   * @return which damaged checkpoints were passed over, and why
   */
  private List<String> resume() {
    Optional<CheckpointStore.Saved> newest = checkpoints.newest();
    if (newest.isEmpty()) {
      return List.of();
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
    examples.skip(saved.state().position());
    return saved.skipped();
  }

  private void save(Records records) {
    if (workers.isFirst()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      parameters.forEach(
          parameter -> tensors.put(PARAMETER + parameter.name(), parameter.master()));
      tensors.putAll(optimizer.state());
      TrainingState state =
          new TrainingState(
              step, examples.position(), directory.settings(), Manifest.llaraVersion());
      listener.saved(
          step,
          writer.call(
              () -> {
                records.force();
                return checkpoints.save(state, tensors);
              }));
    }
    communicator.barrier();
    savedStep = step;
  }

  private void cutBackRecords() {
    MetricsLog.cutBack(directory.path().resolve(METRICS), step, true);
    // The one before the first step is made again if that is where it begins.
    MetricsLog.cutBack(directory.path().resolve(EVALUATIONS), step == 0 ? -1 : step, false);
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
    private final Optional<MetricsLog> metrics = log(METRICS, true);
    private final Optional<MetricsLog> evaluations =
        log(EVALUATIONS, !examples.heldOut().isEmpty());

    private Optional<MetricsLog> log(String name, boolean wanted) {
      return wanted && workers.isFirst()
          ? Optional.of(new MetricsLog(directory.path().resolve(name)))
          : Optional.empty();
    }

    void metrics(StepReport report) {
      JsonObject line = line(report.terms());
      line.addProperty("learning_rate", report.learningRate());
      line.addProperty("gradient_norm", report.gradientNorm());
      line.addProperty("tokens", report.tokens());
      line.addProperty("seconds", report.seconds());
      metrics.ifPresent(log -> writer.run(() -> log.append(line)));
    }

    void evaluation(Map<String, Double> terms) {
      evaluations.ifPresent(log -> writer.run(() -> log.append(line(terms))));
    }

    private JsonObject line(Map<String, Double> terms) {
      JsonObject line = new JsonObject();
      line.addProperty("step", step);
      for (String name : objective.termNames()) {
        Double value = terms.get(name);
        line.add(name, value == null ? JsonNull.INSTANCE : new JsonPrimitive(value));
      }
      return line;
    }

    /** A checkpoint must not be ahead of them, should the machine stop. */
    void force() {
      metrics.ifPresent(MetricsLog::force);
      evaluations.ifPresent(MetricsLog::force);
    }

    @Override
    public void close() {
      metrics.ifPresent(MetricsLog::close);
      evaluations.ifPresent(MetricsLog::close);
    }
  }
}
