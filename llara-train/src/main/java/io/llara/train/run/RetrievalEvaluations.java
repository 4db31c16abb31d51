package io.llara.train.run;

import static java.util.Objects.requireNonNull;

import com.google.gson.JsonObject;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.eval.BeirDataset;
import io.llara.retrieval.eval.BeirEvaluator;
import io.llara.retrieval.eval.BeirSuite;
import io.llara.retrieval.eval.Evaluation;
import io.llara.retrieval.eval.Metric;
import io.llara.train.RetrievalReport;
import io.llara.train.TrainingListener;
import io.llara.train.TrainingResult;
import io.llara.train.distributed.Communicator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/**
 * Evaluations of the model as it is on test collections, by the first process: as an {@link
 * Encoder}, which searches them exactly. {@code retrieval.jsonl} gets a line for each, {@code best}
 * is the model of the best one by nDCG@10, the first of equals.
 */
@Internal
public final class RetrievalEvaluations implements StepHook {
  /** The file of what was measured, in the run's directory. */
  public static final String FILE = "retrieval.jsonl";

  /** The folder of the best model, in the run's directory. */
  public static final String BEST = "best";

  private static final Metric NDCG = Metric.ndcg(10);
  private static final List<Metric> METRICS =
      List.of(NDCG, Metric.map(), Metric.recall(100), Metric.mrr(10));
  private static final String STEP = "step";

  private final RunOptions options;
  private final Path file;
  private final Collections collections;
  private final Communicator communicator;
  private final Consumer<Path> writeModel;

  /**
   * The collections of a run, opened.
   *
   * @param suite empty if there are none
   */
  public record Collections(
      Optional<BeirSuite> suite, Map<BeirSuite.Member, BeirEvaluator> evaluators) {
    /**
     * Opens what the options name.
     *
     * @throws LlaraException if one cannot be used
     */
    public static Collections open(RunOptions options) {
      RunOptions.Retrieval retrieval = options.output().retrieval();
      Map<BeirSuite.Member, BeirEvaluator> evaluators = new LinkedHashMap<>();
      if (retrieval.folders().isEmpty()) {
        return new Collections(Optional.empty(), evaluators);
      }
      BeirSuite suite = BeirSuite.of(retrieval.folders());
      for (BeirSuite.Member member : suite.members()) {
        BeirDataset dataset = BeirDataset.open(member.folder(), retrieval.split());
        evaluators.put(member, BeirEvaluator.of(dataset));
      }
      return new Collections(Optional.of(suite), evaluators);
    }
  }

  /**
   * Prepares evaluations.
   *
   * @param writeModel writes the model as it is into a directory that does not exist
   */
  public RetrievalEvaluations(
      RunOptions options,
      Collections collections,
      Communicator communicator,
      Consumer<Path> writeModel) {
    this.options = options;
    this.collections = collections;
    this.communicator = communicator;
    this.writeModel = writeModel;
    this.file = options.output().directory().resolve(FILE);
  }

  @Override
  public void resume(long step) {
    if (communicator.rank() == 0) {
      MetricsLog.cutBack(file, step, false);
    }
  }

  @Override
  public boolean isDue(long step) {
    return isDueAtEnd() && step > 0 && step % options.output().evaluateEvery() == 0;
  }

  @Override
  public boolean isDueAtEnd() {
    return collections.suite().isPresent();
  }

  @Override
  public boolean run(long step, BooleanSupplier stopRequested) {
    boolean done = communicator.rank() == 0 && steps(file).containsKey(step);
    if (communicator.any(done)) {
      return true;
    }
    TrainingListener listener = options.output().listener();
    listener.evaluatingRetrieval(step);
    List<RetrievalReport> report = new ArrayList<>();
    boolean evaluated =
        LongWork.onFirst(
            communicator,
            () -> report.add(evaluate(step)),
            stopRequested,
            "evaluation after step " + step);
    // In the first process.
    report.forEach(listener::evaluatedRetrieval);
    return evaluated;
  }

  private RetrievalReport evaluate(long step) {
    Path model = options.output().directory().resolve(".evaluated.tmp");
    delete(model);
    try {
      writeModel.accept(model);
      Map<BeirSuite.Member, Evaluation> evaluations = new LinkedHashMap<>();
      try (Encoder encoder = encoder(model)) {
        EmbeddingSearch search = EmbeddingSearch.of(encoder);
        collections
            .evaluators()
            .forEach(
                (member, evaluator) ->
                    evaluations.put(member, evaluator.evaluate(member.name(), search)));
      }
      double ndcg =
          collections
              .suite()
              .orElseThrow()
              .mean(member -> requireNonNull(evaluations.get(member)).mean(NDCG));
      boolean best = steps(file).values().stream().allMatch(before -> ndcg > before);
      if (best) {
        keep(model);
      }
      try (MetricsLog log = new MetricsLog(file)) {
        log.append(line(step, ndcg, evaluations));
        log.force();
      }
      Map<String, Double> byName = new LinkedHashMap<>();
      evaluations.forEach((member, found) -> byName.put(member.name(), found.mean(NDCG)));
      return new RetrievalReport(step, ndcg, byName, best);
    } finally {
      delete(model);
    }
  }

  /** On the device that trains, where its weights take their place a second time. */
  private Encoder encoder(Path model) {
    RunOptions.Compute compute = options.compute();
    EncoderBuilder builder = Encoder.builder(model).computeType(compute.type());
    return compute
        .accelerator()
        .map(device -> builder.device(device.name()))
        .orElseGet(() -> builder.threads(compute.threads()))
        .build();
  }

  private static JsonObject line(
      long step, double ndcg, Map<BeirSuite.Member, Evaluation> evaluations) {
    JsonObject line = new JsonObject();
    line.addProperty(STEP, step);
    line.addProperty(NDCG.label(), ndcg);
    JsonObject each = new JsonObject();
    evaluations.forEach(
        (member, evaluation) -> {
          JsonObject means = new JsonObject();
          METRICS.forEach(metric -> means.addProperty(metric.label(), evaluation.mean(metric)));
          each.add(member.name(), means);
        });
    line.add("collections", each);
    return line;
  }

  /** Puts a model in the place of the best one before. */
  private void keep(Path model) {
    Path best = options.output().directory().resolve(BEST);
    Path before = best.resolveSibling(".best.old.tmp");
    delete(before);
    try {
      if (Files.exists(best)) {
        Files.move(best, before, StandardCopyOption.ATOMIC_MOVE);
      }
      Files.move(model, best, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be written: %s".formatted(best, Messages.reason(e)), e);
    }
    delete(before);
  }

  private static void delete(Path path) {
    try {
      TemporaryPath.delete(path);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be deleted: %s".formatted(path, Messages.reason(e)), e);
    }
  }

  /** Returns what was measured so far, nDCG@10 by step. */
  private static Map<Long, Double> steps(Path file) {
    Map<Long, Double> steps = new LinkedHashMap<>();
    if (Files.exists(file)) {
      MetricsLog.read(
          file,
          (JsonSection line) ->
              steps.put(line.requiredLong(STEP), line.json().get(NDCG.label()).getAsDouble()));
    }
    return steps;
  }

  /** Returns the best model of a run, if it was evaluated. */
  static Optional<TrainingResult.Best> best(Path out) {
    TrainingResult.Best best = null;
    for (Map.Entry<Long, Double> entry : steps(out.resolve(FILE)).entrySet()) {
      if (best == null || entry.getValue() > best.ndcg()) {
        best = new TrainingResult.Best(entry.getKey(), entry.getValue(), out.resolve(BEST));
      }
    }
    return Optional.ofNullable(best);
  }
}
