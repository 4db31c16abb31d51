package io.llara.train.pretrain;

import io.llara.Internal;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.data.Example;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.run.TrainingSteps;
import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Losses, gradients and updates of given examples, without a run around them: for replaying numbers
 * that are known. All parameters train, in float32, on the calling thread.
 *
 * <p>For one thread.
 */
@Internal
public final class AdaptationSteps extends TrainingSteps {
  private final Recipe recipe;
  private final LossFormula formula;
  private final AdaptationPass pass;

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
    super(load(checkpoint, positions), optimizer);
    this.recipe = recipe;
    this.formula = new LossFormula(recipe, recipe.weights());
    this.pass =
        new AdaptationPass(
            model,
            new VocabularyProjection(model.head()),
            recipe.weights(),
            Layout.packed(),
            recompute);
  }

  private static TrainedModel load(Path checkpoint, int positions) {
    Libtorch.load();
    return TrainedModel.full(
        CheckpointDirectory.open(checkpoint),
        new TrainedModel.Settings(ScalarType.Float, positions, true));
  }

  /**
   * Runs a batch forward and backward.
   *
   * @param bosTokens how many tokens at the beginning of each target are not its text's
   */
  public Losses run(List<Example> examples, int bosTokens) {
    try (NoGradGuard noGrad = new NoGradGuard();
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
          values.loss(), values.tokens(), values.self(), values.next(), gradientNorm());
    }
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
