package io.llara.train.pretrain;

import io.llara.Internal;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.data.Example;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.pretrain.AdaptationObjective.Passes;
import io.llara.train.run.TrainingSteps;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.NoGradGuard;

/**
 * Losses, gradients and updates of given examples, without a run around them: for replaying known
 * results. On one lane.
 *
 * <p>For one thread.
 */
@Internal
public final class AdaptationSteps extends TrainingSteps {
  private final Recipe recipe;
  private final AdaptationObjective objective;

  /**
   * Takes ownership of a model.
   *
   * @param model with a head, in float32
   * @param optimizer the optimiser of {@link #update}
   * @param recompute whether layers are run again in the backward pass
   */
  public AdaptationSteps(
      TrainedModel model, Recipe recipe, AdamW.Settings optimizer, boolean recompute) {
    super(model, optimizer);
    this.recipe = recipe;
    this.objective =
        new AdaptationObjective(
            model, recipe, recipe.weights(), new Passes(Layout.packed(), 1, recompute), workers());
  }

  /**
   * Runs a batch forward and backward.
   *
   * @param bosTokens how many tokens at the beginning of each target are not its text's
   * @return the loss and its terms by name, as the recipe reports them; without those that no
   *     example has
   */
  public Map<String, Double> run(List<Example> examples, int bosTokens) {
    return run(
        objective,
        examples.stream().map(example -> TextExample.of(example, recipe, bosTokens)).toList());
  }

  /**
   * Returns the hidden states of all tokens after the final norm, one prompt after another: {@code
   * [tokens of all prompts, hidden]}, row-major.
   */
  public float[] hiddenStates(List<Example> examples) {
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      AttentionMask mask =
          AttentionMaskFactory.create(
              examples.stream().map(Example::prompt).toList(), Layout.packed());
      return Tensors.toFloats(model().forward(mask, IntStream.range(0, mask.rows()).toArray()));
    }
  }
}
