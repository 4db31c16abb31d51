package io.llara.train.pretrain;

import io.llara.Internal;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.data.Example;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.run.TrainingSteps;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Losses, gradients and updates of given examples, without a run around them: for replaying numbers
 * that are known. All parameters train, in float32, on one lane.
 *
 * <p>For one thread.
 */
@Internal
public final class AdaptationSteps extends TrainingSteps {
  private final Recipe recipe;
  private final AdaptationPass pass;
  private final AdaptationObjective objective;

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
    super(
        TrainedModel.full(
            CheckpointDirectory.open(checkpoint),
            new TrainedModel.Settings(ScalarType.Float, positions, true)),
        optimizer);
    this.recipe = recipe;
    this.pass =
        new AdaptationPass(
            model(),
            new VocabularyProjection(model().head()),
            recipe.weights(),
            Layout.packed(),
            recompute);
    this.objective =
        new AdaptationObjective(new LossFormula(recipe, recipe.weights()), pass, 1, workers());
  }

  /**
   * Runs a batch forward and backward.
   *
   * @param bosTokens how many tokens at the beginning of each target are not its text's
   */
  public Losses run(List<Example> examples, int bosTokens) {
    Map<String, Double> terms =
        run(
            objective,
            examples.stream().map(example -> TextExample.of(example, recipe, bosTokens)).toList());
    double[] values =
        LossFormula.NAMES.stream()
            .mapToDouble(name -> terms.getOrDefault(name, Double.NaN))
            .toArray();
    return new Losses(values[0], values[1], values[2], values[3], gradientNorm());
  }

  /**
   * Returns the hidden states of all tokens after the final norm, one prompt after another: {@code
   * [tokens of all prompts, hidden]}, row-major.
   */
  public float[] hiddenStates(List<Example> examples) {
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      return Tensors.toFloats(pass.hiddenStates(examples.stream().map(Example::prompt).toList()));
    }
  }
}
