package io.llara.examples.golden;

import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.train.data.Example;
import io.llara.train.pretrain.AdaptationSteps;
import io.llara.train.pretrain.Recipe;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The case of {@code trajectory.json}: steps of AdamW on collated batches. Compared are the losses
 * and the gradient norm before each step, and the weights after the last.
 */
record TrajectoryCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {
  private static final TrainingComparison.LossTolerances LOSSES =
      new TrainingComparison.LossTolerances(
          Tolerance.STEP_LOSS, Tolerance.STEP_LOSS, Tolerance.STEP_GRADIENT_NORM);

  @Override
  public Comparison run(ReplayEngines engines) {
    Comparison comparison = Comparison.ofTraining(engines.computeType(), "");
    GoldenOptimizer optimizer = GoldenOptimizer.read(json.object("optimizer"));
    Suffixes suffixes = Suffixes.of(file, json);
    List<GoldenJson> steps = json.objects("steps");
    List<CollatedBatch> batches =
        steps.stream().map(step -> CollatedBatch.read(step.object("batch"))).toList();
    int longest = batches.stream().mapToInt(batch -> batch.rows().width()).max().orElse(1);
    try (AdaptationSteps training =
        new AdaptationSteps(
            TrainingComparison.model(file.beside("llama-mha"), longest, true),
            Recipe.RELEASED,
            optimizer.settings(),
            false)) {
      TrainingComparison compare = new TrainingComparison(training, file, json, comparison);
      for (int i = 0; i < steps.size(); i++) {
        String prefix = "step %d ".formatted(i + 1);
        Optional<PromptBuilder> prompts = batches.get(i).prompts(suffixes, prefix, comparison);
        if (prompts.isEmpty()) {
          // All that follows would be about other weights.
          return comparison;
        }
        List<Example> examples = batches.get(i).examples(prompts.get());
        if (!comparison.equal(prefix + "batch", same(batches.get(i), examples))) {
          return comparison;
        }
        Map<String, Double> losses = training.run(examples, 1);
        compare.losses(prefix, losses, steps.get(i).object("scalars_f64"), LOSSES);
        optimizer.update(training);
      }
      Map<String, float[]> weights = training.parameters();
      compare.summaries("final_params", weights, Tolerance.FINAL_NORM, Tolerance.FINAL_WEIGHT);
      compare.tensors("final", weights, Tolerance.FINAL_WEIGHT);
    }
    return comparison;
  }

  /** Returns whether the examples of a batch make that batch again. */
  private static boolean same(CollatedBatch batch, List<Example> examples) {
    List<Prompt> prompts = examples.stream().map(Example::prompt).toList();
    PaddedRows ours = PaddedRows.of(prompts, batch.rows().width());
    return batch.rows().same(ours)
        && PaddedRows.equal(batch.labels(), CollatedBatch.labels(prompts, ours));
  }
}
