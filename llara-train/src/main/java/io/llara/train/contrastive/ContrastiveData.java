package io.llara.train.contrastive;

import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.run.RunOptions;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/** The pairs of a run, and what they are made into. */
final class ContrastiveData {
  private final ContrastiveTrainer.Options options;
  private final PromptTemplate template;
  private final PairCollator collator;

  /**
   * Prepares to read the data.
   *
   * @throws io.llara.LlaraException if the tokenizer lacks the markers
   */
  ContrastiveData(ContrastiveTrainer.Options options, BaseModel base) {
    this.options = options;
    ContrastiveTrainer.Options.Prompts prompts = options.prompts();
    // What an encoder of the model would take.
    this.template =
        base.template()
            .orElseGet(
                () ->
                    PromptBuilder.missingTokens(PromptTemplate.LLAMA2VEC, base.tokenizer())
                            .isEmpty()
                        ? PromptTemplate.LLAMA2VEC
                        : PromptTemplate.PAPER);
    this.collator =
        new PairCollator(
            base.prompts(template, "template '%s'".formatted(template.name())),
            prompts.modes(),
            prompts.queryMaxTokens(),
            prompts.passageMaxTokens());
  }

  /** Returns the prompts. */
  PromptTemplate template() {
    return template;
  }

  /** Returns how many negatives a pair must have. */
  int minNegatives() {
    return options.groups().minNegatives();
  }

  /**
   * Returns the examples of a run from its beginning. Held-out groups are evaluated in batches as
   * large as those of training, each in one process: that is how many negatives there are.
   *
   * @throws io.llara.LlaraException if the data cannot be used
   */
  Examples<TrainingPair, PairExample> examples() {
    RunOptions.Data data = options.run().data();
    return new Examples<>(
        Dataset.ofPairs(data.files(), minNegatives()).badLines(data.badLines()),
        options.run(),
        data.batch(),
        (pair, position) -> collator.example(options.groups().sample(pair, position)));
  }

  /** Returns pairs with refreshed negatives: those of training alone, and whole. */
  Dataset<TrainingPair> refreshed(Path file) {
    return Dataset.ofPairs(List.of(file), minNegatives());
  }

  /** Returns what the trained model says of itself. */
  Optional<LlaraJson> trainedWith() {
    return Optional.of(
        new LlaraJson(
            template,
            options.loss().normalized(),
            OptionalInt.of(options.prompts().queryMaxTokens()),
            OptionalInt.of(options.prompts().passageMaxTokens()),
            options.prompts().modes()));
  }
}
