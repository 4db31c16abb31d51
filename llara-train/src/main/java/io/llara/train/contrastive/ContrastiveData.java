package io.llara.train.contrastive;

import com.google.common.collect.Lists;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.train.data.BadLines;
import io.llara.train.data.Dataset;
import io.llara.train.data.GroupSampler;
import io.llara.train.data.ShuffleBuffer;
import io.llara.train.data.TrainingPair;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.run.RunOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/** The pairs of a run, and what they are made into. */
final class ContrastiveData {
  private final ContrastiveTrainer.Options options;
  private final RunOptions.Data data;
  private final PromptTemplate template;
  private final PairCollator collator;
  private final GroupSampler groups;
  private final Dataset<TrainingPair> pairs;
  private final Dataset<TrainingPair> training;

  /**
   * Opens the data.
   *
   * @throws io.llara.LlaraException if it cannot be used, or the tokenizer lacks the markers
   */
  ContrastiveData(ContrastiveTrainer.Options options, BaseModel base) {
    this.options = options;
    this.data = options.run().data();
    ContrastiveTrainer.Options.Prompts prompts = options.prompts();
    // What an encoder of the model would take.
    this.template =
        prompts
            .template()
            .or(() -> base.llaraJson().map(LlaraJson::template))
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
    this.groups =
        new GroupSampler(
            options.negatives().count(), options.negatives().few(), options.run().seed());
    this.pairs = Dataset.ofPairs(data.files(), minNegatives()).badLines(data.badLines());
    this.training = pairs.heldOut(data.heldOut(), false);
    training.requireExamples();
  }

  /** Returns the prompts. */
  PromptTemplate template() {
    return template;
  }

  /** Returns how many negatives a pair must have. */
  int minNegatives() {
    return groups.minNegatives();
  }

  /** Reads the data through and counts the pairs. */
  long count() {
    return training.count().examples();
  }

  /** Returns the pairs that a run begins with. */
  Dataset<TrainingPair> training() {
    return training;
  }

  /** Returns pairs with refreshed negatives: those of training alone, and whole. */
  Dataset<TrainingPair> refreshed(Path file) {
    return Dataset.ofPairs(List.of(file), minNegatives()).badLines(BadLines.REFUSE);
  }

  /** Returns pairs in the order of the run, from its beginning. */
  ShuffleBuffer<TrainingPair> shuffled(Dataset<TrainingPair> some) {
    return new ShuffleBuffer<>(some, data.shuffleBuffer(), options.run().seed());
  }

  /** Returns the examples of a run from its beginning. */
  Examples<TrainingPair, PairExample> examples() {
    return new Examples<>(shuffled(training), options.run().share(), this::example, heldOut());
  }

  private PairExample example(TrainingPair pair, long position) {
    return collator.example(groups.sample(pair, position));
  }

  /**
   * Returns the held-out examples that this process evaluates, the same groups at each evaluation:
   * in batches as large as those of training, each for one process, so that the loss does not
   * depend on how many processes there are.
   */
  private List<List<PairExample>> heldOut() {
    if (data.heldOut() == 0) {
      return List.of();
    }
    Dataset<TrainingPair> heldOut = pairs.heldOut(data.heldOut(), true);
    heldOut.requireExamples();
    List<PairExample> examples = new ArrayList<>();
    // Drawn from all of them, not from the first ones.
    try (ShuffleBuffer<TrainingPair> some =
        new ShuffleBuffer<>(heldOut, data.shuffleBuffer(), 0, 1)) {
      while (examples.size() < data.evaluationTexts() && some.hasNext()) {
        examples.add(example(some.next(), examples.size()));
      }
    }
    List<List<PairExample>> mine = new ArrayList<>();
    List<List<PairExample>> all = Lists.partition(examples, data.batch());
    RunOptions.Compute compute = options.run().compute();
    for (int i = compute.rank(); i < all.size(); i += compute.ranks()) {
      mine.add(all.get(i));
    }
    return mine;
  }

  /** Returns what the trained model says of itself. */
  Optional<LlaraJson> trainedWith() {
    return Optional.of(
        new LlaraJson(
            template,
            options.loss().normalized(),
            OptionalInt.of(options.prompts().queryMaxTokens()),
            OptionalInt.of(options.prompts().passageMaxTokens())));
  }
}
