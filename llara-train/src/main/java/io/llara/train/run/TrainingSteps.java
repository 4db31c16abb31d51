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
 * Gradients and updates of a model without a run around them, for replaying numbers that are known;
 * what the loss is, subclasses know.
 *
 * <p>For one thread.
 */
@Internal
public abstract class TrainingSteps implements AutoCloseable {
  /** The model; closed with this object. */
  protected final TrainedModel model;

  /** Takes the gradients of a step. */
  protected final GradientAccumulator gradients;

  private final List<Parameter> parameters;
  private final AdamW optimizer;

  /**
   * Takes ownership of a model.
   *
   * @param optimizer the optimiser of {@link #update}
   */
  protected TrainingSteps(TrainedModel model, AdamW.Settings optimizer) {
    this.model = model;
    this.parameters = model.parameters();
    this.gradients = new GradientAccumulator(parameters, (total, index) -> {});
    this.optimizer = new AdamW(parameters.stream().map(Parameter::master).toList(), optimizer);
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
    model.refresh();
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
    model.close();
  }
}
