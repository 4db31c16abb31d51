package io.llara.train.pretrain;

import io.llara.Internal;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import io.llara.train.autograd.Recording;
import io.llara.train.data.Example;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.optim.GradientClipping;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Losses, gradients and updates of given examples, without a run around them: for replaying numbers
 * that are known. All parameters train, in float32, on the calling thread.
 *
 * <p>For one thread.
 */
@Internal
public final class AdaptationSteps implements AutoCloseable {
  private final Recipe recipe;
  private final LossFormula formula;
  private final TrainedModel model;
  private final AdaptationPass pass;
  private final List<Parameter> parameters;
  private final GradientAccumulator gradients;
  private final AdamW optimizer;

  /**
   * The loss of a batch and its terms, as the recipe reports them; NaN where no example has a term.
   *
   * @param loss the loss
   * @param tokens the next-token term
   * @param self the SELF embedding's term
   * @param next the NEXT embedding's term
   * @param gradientNorm the length of the gradient over all parameters
   */
  public record Losses(double loss, double tokens, double self, double next, double gradientNorm) {}

  /**
   * Loads a checkpoint.
   *
   * @param positions how many positions a sequence may have
   * @param optimizer the optimiser of {@link #update}
   * @param recompute whether layers are run again in the backward pass
   */
  public AdaptationSteps(
      Path checkpoint, Recipe recipe, int positions, AdamW.Settings optimizer, boolean recompute) {
    Libtorch.load();
    this.recipe = recipe;
    this.formula = new LossFormula(recipe, recipe.weights());
    this.model =
        TrainedModel.full(CheckpointDirectory.open(checkpoint), ScalarType.Float, positions);
    this.pass =
        new AdaptationPass(
            model,
            new VocabularyProjection(model.head()),
            recipe.weights(),
            Layout.packed(),
            recompute);
    this.parameters = model.parameters();
    this.gradients = new GradientAccumulator(parameters, (total, index) -> {});
    this.optimizer = new AdamW(parameters.stream().map(Parameter::master).toList(), optimizer);
  }

  /**
   * Runs a batch forward and backward.
   *
   * @param bosTokens how many tokens at the beginning of each target are not its text's
   */
  public Losses run(List<Example> examples, int bosTokens) {
    try (Recording off = Recording.off();
        TensorScope scope = new TensorScope()) {
      List<Prepared> prepared =
          examples.stream().map(example -> Prepared.of(example, recipe, bosTokens)).toList();
      LossTerms counts =
          prepared.stream().map(Prepared::counts).reduce(LossTerms.ZERO, LossTerms::plus);
      gradients.begin(1);
      LossTerms sums = pass.train(prepared, formula.scales(counts), gradients.contributor(0));
      gradients.finished(0);
      LossFormula.Values values = formula.values(sums, counts);
      return new Losses(
          values.loss(),
          values.tokens(),
          values.self(),
          values.next(),
          GradientClipping.globalNorm(gradients.totals()));
    }
  }

  /**
   * Returns the hidden states of all tokens after the final norm, one prompt after another: {@code
   * [tokens of all prompts, hidden]}, row-major.
   */
  public float[] hiddenStates(List<Example> examples) {
    try (Recording off = Recording.off();
        TensorScope scope = new TensorScope()) {
      return Tensors.toFloats(pass.hiddenStates(examples.stream().map(Example::prompt).toList()));
    }
  }

  /**
   * Scales the gradients of the last {@link #run} so that they are at most so long.
   *
   * @throws IllegalArgumentException if the length is not more than 0
   */
  public void clip(double maxNorm) {
    GradientClipping.clip(gradients.totals(), maxNorm);
  }

  /** Updates the parameters by the gradients of the last {@link #run}. */
  public void update(double learningRate) {
    optimizer.step(gradients.totals(), learningRate);
    model.refresh();
  }

  /** Returns the gradients of the last {@link #run} by canonical name of the parameter. */
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
    try (Recording off = Recording.off()) {
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
