package io.llara.examples.golden;

import io.llara.checkpoint.SafetensorsFile;
import io.llara.prompt.PromptBuilder;
import io.llara.train.data.Example;
import io.llara.train.pretrain.AdaptationSteps;
import io.llara.train.pretrain.Recipe;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The case of {@code trajectory.json}: steps of AdamW on collated batches. Compared are the losses
 * and the gradient's length before each step, and the weights after the last.
 */
record TrajectoryCase(GoldenFile source, SafetensorsFile tensors) implements FileCase {
  private static final TrainingNumbers.LossTolerances LOSSES =
      new TrainingNumbers.LossTolerances(
          Tolerances.STEP_LOSS, Tolerances.STEP_LOSS, Tolerances.STEP_GRADIENT_NORM);
  private static final TrainingNumbers.ParameterTolerances WEIGHTS =
      new TrainingNumbers.ParameterTolerances(Tolerances.FINAL_NORM, Tolerances.FINAL_WEIGHT);

  static List<GoldenCase> read(GoldenFile file) {
    return List.of(new TrajectoryCase(file, file.openTensors()));
  }

  @Override
  public GoldenJson json() {
    return source.json();
  }

  @Override
  public String name() {
    return source.nameOfOneCase();
  }

  @Override
  public CaseReport replay(ReplayEngines engines) {
    Judge judge = engines.trainingJudge();
    GoldenOptimizer optimizer = GoldenOptimizer.read(json().object("optimizer"));
    Suffixes suffixes = Suffixes.of(source.folder(), json().optionalString("recipe"));
    List<GoldenJson> steps = json().objects("steps");
    List<CollatedBatch> batches =
        steps.stream().map(step -> CollatedBatch.read(step.object("batch"))).toList();
    int longest = batches.stream().mapToInt(batch -> batch.rows().width()).max().orElse(1);
    Path checkpoint = source.folder().resolve("llama-mha");
    try (AdaptationSteps training =
        new AdaptationSteps(checkpoint, Recipe.RELEASED, longest, optimizer.settings(), false)) {
      TrainingNumbers numbers = new TrainingNumbers(training, tensors, json(), judge);
      for (int i = 0; i < steps.size(); i++) {
        String prefix = "step " + (i + 1) + " ";
        Optional<List<Example>> examples = examples(batches.get(i), suffixes, prefix, judge);
        if (examples.isEmpty()) {
          // All that follows would be about other weights.
          return judge.report();
        }
        AdaptationSteps.Losses losses = training.run(examples.get(), 1);
        numbers.losses(prefix, losses, steps.get(i).object("scalars_f64"), LOSSES);
        optimizer.update(training);
      }
      Map<String, float[]> weights = training.parameters();
      numbers.summaries("final_params", weights, WEIGHTS);
      numbers.tensors("final", weights, Tolerances.FINAL_WEIGHT);
    }
    return judge.report();
  }

  /** Returns the examples of a batch if they make that batch again. */
  private static Optional<List<Example>> examples(
      CollatedBatch batch, Suffixes suffixes, String prefix, Judge judge) {
    Optional<PromptBuilder> prompts = batch.prompts(suffixes);
    if (prompts.isEmpty()) {
      judge.unlike(prefix + "labels", CollatedBatch.unlike(suffixes));
      return Optional.empty();
    }
    List<Example> examples = batch.examples(prompts.get());
    PaddedExamples ours =
        PaddedExamples.of(examples.stream().map(Example::prompt).toList(), batch.rows().width());
    boolean same =
        judge.equal(
            prefix + "batch",
            batch.holds("input_ids", ours.inputIds())
                && batch.holds("attention_mask", ours.attentionMask())
                && batch.holds("labels", ours.labels()));
    return same ? Optional.of(examples) : Optional.empty();
  }
}
