package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.prompt.PromptBuilder;
import io.llara.train.data.Collator;
import io.llara.train.data.Example;
import io.llara.train.optim.AdamW;
import io.llara.train.pretrain.AdaptationSteps;
import io.llara.train.pretrain.Recipe;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A case of {@code losses.json}: texts and words as ids. Compared are the batch that our collator
 * makes of them, the hidden states, the losses, and the gradients of all parameters.
 */
record LossCase(GoldenFile source, SafetensorsFile tensors, GoldenJson json) implements FileCase {
  private static final TrainingNumbers.LossTolerances LOSSES =
      new TrainingNumbers.LossTolerances(
          Tolerances.LOSS, Tolerances.BAG_LOSS, Tolerances.GRADIENT_NORM);
  private static final TrainingNumbers.ParameterTolerances GRADIENTS =
      new TrainingNumbers.ParameterTolerances(Tolerances.GRADIENT_NORM, Tolerances.GRADIENT);

  static List<GoldenCase> read(GoldenFile file) {
    SafetensorsFile tensors = file.openTensors();
    return file.cases().stream()
        .<GoldenCase>map(json -> new LossCase(file, tensors, json))
        .toList();
  }

  @Override
  public CaseReport replay(ReplayEngines engines) {
    Judge judge = engines.trainingJudge();
    CollatedBatch batch = CollatedBatch.read(json.object("batch"));
    Suffixes suffixes = Suffixes.of(source.folder(), json.optionalString("recipe"));
    Optional<PromptBuilder> prompts = batch.prompts(suffixes);
    if (prompts.isEmpty()) {
      judge.unlike("labels", CollatedBatch.unlike(suffixes));
      return judge.report();
    }
    List<Example> examples = examples(prompts.get());
    if (compareBatch(batch, examples, judge)) {
      compareTraining(batch.rows(), examples, judge);
    }
    return judge.report();
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
    return IntStream.range(0, texts.size())
        .mapToObj(
            i ->
                Collator.fromIds(
                    prompts,
                    texts.get(i),
                    self.get(i),
                    next.get(i),
                    bos,
                    json.integer("cutoff_len")))
        .toList();
  }

  /** Returns whether the batch is the same: else the rest would compare different things. */
  private boolean compareBatch(CollatedBatch batch, List<Example> examples, Judge judge) {
    PaddedExamples ours =
        PaddedExamples.of(
            examples.stream().map(Example::prompt).toList(), json.integer("pad_to_multiple_of"));
    List<int[]> self = PaddedExamples.targets(examples, Example::selfTargets);
    List<int[]> next = PaddedExamples.targets(examples, Example::nextTargets);
    return judge.equal("input_ids", batch.holds("input_ids", ours.inputIds()))
        & judge.equal("attention_mask", batch.holds("attention_mask", ours.attentionMask()))
        & judge.equal("labels", batch.holds("labels", ours.labels()))
        & judge.equal("output_summarize_ids", batch.holds("output_summarize_ids", self))
        & judge.equal("output_predict_ids", batch.holds("output_predict_ids", next));
  }

  private void compareTraining(GoldenRows rows, List<Example> examples, Judge judge) {
    Path checkpoint = source.folder().resolve("llama-mha");
    try (AdaptationSteps training =
        new AdaptationSteps(
            checkpoint, Recipe.RELEASED, rows.width(), AdamW.Settings.DEFAULT, false)) {
      TrainingNumbers numbers = new TrainingNumbers(training, tensors, json, judge);
      if (json.object("tensors").has("last_hidden_state")) {
        numbers.hiddenStates("last_hidden_state", rows, training.hiddenStates(examples));
      }
      numbers.losses("", training.run(examples, 1), json.object("scalars_f64"), LOSSES);
      Map<String, float[]> gradients = training.gradients();
      numbers.summaries("grads", gradients, GRADIENTS);
      numbers.tensors("grad", gradients, Tolerances.GRADIENT);
      numbers.rows("grad_rows", gradients, Tolerances.GRADIENT);
    }
  }
}
