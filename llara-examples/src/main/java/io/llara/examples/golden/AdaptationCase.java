package io.llara.examples.golden;

import com.google.common.primitives.Ints;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.train.data.Collator;
import io.llara.train.data.Example;
import io.llara.train.optim.AdamW;
import io.llara.train.pretrain.AdaptationSteps;
import io.llara.train.pretrain.Recipe;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A case of {@code losses.json} or that of {@code trajectory.json}.
 *
 * <p>The former gives texts and words as ids. Compared are the batch that our collator makes of
 * them, the hidden states, the losses, and the gradients of all parameters. The latter are steps of
 * AdamW on collated batches. Compared are the losses and the gradient norm before each step, and
 * the weights after the last.
 */
record AdaptationCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {

  /**
   * How far losses may be off.
   *
   * @param loss for the loss and its next-token term
   * @param bag for the term of an embedding
   * @param gradientNorm for the norm of the gradient over all parameters
   */
  private record LossTolerances(Tolerance loss, Tolerance bag, Tolerance gradientNorm) {
    static final LossTolerances ONE_BATCH =
        new LossTolerances(Tolerance.LOSS, Tolerance.BAG_LOSS, Tolerance.GRADIENT_NORM);
    static final LossTolerances STEP =
        new LossTolerances(Tolerance.STEP_LOSS, Tolerance.STEP_LOSS, Tolerance.STEP_GRADIENT_NORM);
  }

  @Override
  public Comparison run(ReplayEngines engines) {
    Comparison comparison = Comparison.ofTraining(engines.computeType(), "");
    Suffixes suffixes = Suffixes.of(file, json);
    if (json.has("steps")) {
      compareSteps(suffixes, engines, comparison);
    } else {
      CollatedBatch batch = CollatedBatch.read(json.object("batch"));
      Optional<PromptBuilder> prompts = batch.prompts(suffixes, "", comparison);
      if (prompts.isPresent()) {
        List<Example> examples = examples(prompts.get());
        // Else the rest would compare different things.
        if (compareBatch(batch, examples, comparison)) {
          compareGradients(batch.rows(), examples, engines, comparison);
        }
      }
    }
    return comparison;
  }

  private AdaptationSteps training(int positions, AdamW.Settings optimizer, ReplayEngines engines) {
    return new AdaptationSteps(
        TrainingComparison.model(file.beside("llama-mha"), positions, true, engines),
        Recipe.RELEASED,
        optimizer,
        false);
  }

  /** Puts the raw ids through our collator. */
  private List<Example> examples(PromptBuilder prompts) {
    List<int[]> texts = json.rows("texts");
    List<int[]> self = json.rows("summarize_words");
    List<int[]> next = json.rows("predict_words");
    if (self.size() != texts.size() || next.size() != texts.size()) {
      throw new LlaraException(
          "%s: %d texts, but %d summarize_words and %d predict_words"
              .formatted(json.where(), texts.size(), self.size(), next.size()));
    }
    // The prefix begins with BOS, as the targets do.
    int[] prefix = prompts.prefixIds(Mode.SELF);
    int[] bos = Arrays.copyOf(prefix, Math.min(1, prefix.length));
    int maxTokens = json.integer("cutoff_len");
    return IntStream.range(0, texts.size())
        .mapToObj(
            i ->
                Collator.fromIds(
                    prompts,
                    texts.get(i),
                    Ints.concat(bos, self.get(i)),
                    Ints.concat(bos, next.get(i)),
                    maxTokens))
        .toList();
  }

  private boolean compareBatch(CollatedBatch batch, List<Example> examples, Comparison comparison) {
    List<Prompt> prompts = examples.stream().map(Example::prompt).toList();
    PaddedRows ours = PaddedRows.of(prompts, json.integer("pad_to_multiple_of"));
    List<int[]> self =
        CollatedBatch.padded(examples.stream().map(one -> one.selfTargets().toArray()).toList());
    List<int[]> next =
        CollatedBatch.padded(examples.stream().map(one -> one.nextTargets().toArray()).toList());
    return batch.rows().compare("", ours, comparison)
        & batch.compare("labels", CollatedBatch.labels(prompts, ours), comparison)
        & batch.compare("output_summarize_ids", self, comparison)
        & batch.compare("output_predict_ids", next, comparison);
  }

  private void compareGradients(
      PaddedRows rows, List<Example> examples, ReplayEngines engines, Comparison comparison) {
    try (AdaptationSteps training = training(rows.width(), AdamW.Settings.DEFAULT, engines)) {
      TrainingComparison compare = new TrainingComparison(training, file, json, comparison);
      if (json.object("tensors").has("last_hidden_state")) {
        comparison.hiddenStates(file, json, rows, training.hiddenStates(examples));
      }
      Map<String, Double> terms = training.run(examples, 1);
      losses(compare, "", terms, json.object("scalars_f64"), LossTolerances.ONE_BATCH);
      Map<String, float[]> gradients = training.gradients();
      compare.summaries("grads", gradients, Tolerance.GRADIENT_NORM, Tolerance.GRADIENT);
      compare.tensors("grad", gradients, Tolerance.GRADIENT);
      compare.rows("grad_rows", gradients, Tolerance.GRADIENT);
    }
  }

  private void compareSteps(Suffixes suffixes, ReplayEngines engines, Comparison comparison) {
    GoldenOptimizer optimizer = GoldenOptimizer.read(json.object("optimizer"));
    List<GoldenJson> steps = json.objects("steps");
    List<CollatedBatch> batches =
        steps.stream().map(step -> CollatedBatch.read(step.object("batch"))).toList();
    int longest = batches.stream().mapToInt(batch -> batch.rows().width()).max().orElse(1);
    try (AdaptationSteps training = training(longest, optimizer.settings(), engines)) {
      TrainingComparison compare = new TrainingComparison(training, file, json, comparison);
      for (int i = 0; i < steps.size(); i++) {
        String prefix = "step %d ".formatted(i + 1);
        CollatedBatch batch = batches.get(i);
        Optional<List<Example>> examples =
            batch.prompts(suffixes, prefix, comparison).map(batch::examples);
        if (examples.isEmpty()
            || !comparison.equal(prefix + "batch", batch.isMadeOf(examples.get()))) {
          // All that follows would be about other weights.
          return;
        }
        Map<String, Double> terms = training.run(examples.get(), 1);
        losses(compare, prefix, terms, steps.get(i).object("scalars_f64"), LossTolerances.STEP);
        optimizer.update(training);
      }
      Map<String, float[]> weights = training.parameters();
      compare.summaries("final_params", weights, Tolerance.FINAL_NORM, Tolerance.FINAL_WEIGHT);
      compare.tensors("final", weights, Tolerance.FINAL_WEIGHT);
    }
  }

  /** Compares the losses of a batch. A term that no example has is 0 here. */
  private static void losses(
      TrainingComparison compare,
      String prefix,
      Map<String, Double> terms,
      GoldenJson expected,
      LossTolerances tolerances) {
    double self = terms.getOrDefault("self_loss", 0.0);
    double next = terms.getOrDefault("next_loss", 0.0);
    double loss = terms.getOrDefault("loss", 0.0);
    double ar = terms.getOrDefault("ar_loss", 0.0);
    compare.scalar(prefix, "ar_loss", ar, expected, tolerances.loss());
    compare.scalar(prefix, "bow_summarize_loss", self, expected, tolerances.bag());
    compare.scalar(prefix, "bow_predict_loss", next, expected, tolerances.bag());
    compare.scalar(prefix, "loss", loss, expected, tolerances.loss());
    double norm = compare.training().gradientNorm();
    compare.scalar(prefix, "global_grad_norm", norm, expected, tolerances.gradientNorm());
  }
}
