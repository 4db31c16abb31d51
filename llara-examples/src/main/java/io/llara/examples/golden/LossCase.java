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
 * A case of {@code losses.json}: texts and words as ids. Compared are the batch that our collator
 * makes of them, the hidden states, the losses, and the gradients of all parameters.
 */
record LossCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {
  private static final TrainingComparison.LossTolerances LOSSES =
      new TrainingComparison.LossTolerances(
          Tolerance.LOSS, Tolerance.BAG_LOSS, Tolerance.GRADIENT_NORM);

  @Override
  public Comparison run(ReplayEngines engines) {
    Comparison comparison = Comparison.ofTraining(engines.computeType(), "");
    CollatedBatch batch = CollatedBatch.read(json.object("batch"));
    Optional<PromptBuilder> prompts = batch.prompts(Suffixes.of(file, json), "", comparison);
    if (prompts.isPresent()) {
      List<Example> examples = examples(prompts.get());
      // Else the rest would compare different things.
      if (compareBatch(batch, examples, comparison)) {
        compareTraining(batch.rows(), examples, comparison);
      }
    }
    return comparison;
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

  private void compareTraining(PaddedRows rows, List<Example> examples, Comparison comparison) {
    try (AdaptationSteps training =
        new AdaptationSteps(
            TrainingComparison.model(file.beside("llama-mha"), rows.width(), true),
            Recipe.RELEASED,
            AdamW.Settings.DEFAULT,
            false)) {
      TrainingComparison compare = new TrainingComparison(training, file, json, comparison);
      if (json.object("tensors").has("last_hidden_state")) {
        compare.hiddenStates("last_hidden_state", rows, training.hiddenStates(examples));
      }
      compare.losses("", training.run(examples, 1), json.object("scalars_f64"), LOSSES);
      Map<String, float[]> gradients = training.gradients();
      compare.summaries("grads", gradients, Tolerance.GRADIENT_NORM, Tolerance.GRADIENT);
      compare.tensors("grad", gradients, Tolerance.GRADIENT);
      compare.rows("grad_rows", gradients, Tolerance.GRADIENT);
    }
  }
}
