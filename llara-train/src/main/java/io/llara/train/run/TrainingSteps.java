package io.llara.train.run;

import io.llara.Internal;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.optim.GradientClipping;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;

/**
 * Steps over given examples without a run around them, for replaying known results. On one lane;
 * for one thread.
 */
@Internal
public abstract class TrainingSteps implements AutoCloseable {
  private final TrainedModel model;
  private final Workers workers;
  private final List<Parameter> parameters;
  private final GradientAccumulator gradients;
  private final AdamW optimizer;

  /**
   * Takes ownership of a model.
   *
   * @param optimizer the optimiser of {@link #update}
   */
  protected TrainingSteps(TrainedModel model, AdamW.Settings optimizer) {
    this.model = model;
    this.workers = Workers.single(model.device());
    this.parameters = model.parameters();
    this.gradients = new GradientAccumulator(parameters, (total, index) -> {});
    this.optimizer = new AdamW(parameters, optimizer, workers.lanes());
  }

  /** Returns the model; it stays this object's. */
  protected final TrainedModel model() {
    return model;
  }

  /** Returns the one lane. */
  protected final Workers workers() {
    return workers;
  }

  /** Runs a batch forward and backward, and returns the loss and its terms. */
  protected final <E> Map<String, Double> run(Objective<E> objective, List<E> batch) {
    double[] counts = objective.counts(batch);
    gradients.begin(objective.contributors(batch));
    double[] sums = objective.train(batch, counts, 0, gradients);
    return objective.terms(sums, counts);
  }

  /** Returns the length of the last step's gradient over all parameters. */
  public double gradientNorm() {
    return GradientClipping.globalNorm(gradients.totals());
  }

  /**
   * Scales the gradients of the last step so that they are at most so long.
   *
   * @throws IllegalArgumentException if the length is not more than 0
   */
  public void clip(double maxNorm) {
    GradientClipping.clip(gradients.totals(), maxNorm);
  }

  /** Updates the parameters by the gradients of the last step. */
  public void update(double learningRate) {
    optimizer.step(gradients.totals(), learningRate);
    model.refreshRows();
  }

  /** Returns the gradients of the last step by canonical name of the parameter. */
  public Map<String, float[]> gradients() {
    List<Tensor> totals = gradients.totals();
    return byName(parameter -> totals.get(parameters.indexOf(parameter)));
  }

  /** Returns the parameters by canonical name. */
  public Map<String, float[]> parameters() {
    return byName(Parameter::master);
  }

  /** Returns the shapes of the parameters by canonical name. */
  public Map<String, long[]> shapes() {
    return parameters.stream()
        .collect(Collectors.toMap(Parameter::name, parameter -> parameter.master().shape()));
  }

  private Map<String, float[]> byName(Function<Parameter, Tensor> tensor) {
    try (NoGradGuard noGrad = new NoGradGuard()) {
      return parameters.stream()
          .collect(
              Collectors.toMap(
                  Parameter::name, parameter -> Tensors.toFloats(tensor.apply(parameter))));
    }
  }

  @Override
  public void close() {
    gradients.close();
    optimizer.close();
    workers.close();
    model.close();
  }
}
