package io.llara.train.pretrain;

import com.google.common.collect.Lists;
import io.llara.Mode;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.Reserve;
import io.llara.tokenize.Tokenizer;
import io.llara.train.data.Collator;
import io.llara.train.data.Dataset;
import io.llara.train.data.PassageSplitter;
import io.llara.train.data.ShuffleBuffer;
import io.llara.train.data.TextFormat;
import io.llara.train.data.TrainingText;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.run.RunOptions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/** The texts of a run, and what they are made into. */
final class AdaptationData {
  private final Pretrainer.Options options;
  private final RunOptions.Data data;
  private final Tokenizer tokenizer;
  private final Optional<PromptBuilder> prompts;
  private final Collator collator;
  private final Dataset<TrainingText> texts;
  private final Dataset<TrainingText> training;

  /**
   * Opens the data.
   *
   * @throws io.llara.LlaraException if it cannot be used, or the tokenizer lacks the markers
   */
  AdaptationData(Pretrainer.Options options, BaseModel base) {
    this.options = options;
    this.data = options.run().data();
    this.tokenizer = base.tokenizer();
    String recipe = "recipe '%s'".formatted(options.recipe().spelled());
    this.prompts =
        template()
            .map(template -> base.prompts(template, recipe).withReserve(Reserve.BOTH_SUFFIXES));
    this.texts = texts(options.texts());
    this.training = texts.heldOut(data.heldOut(), false);
    training.requireExamples();
    this.collator =
        prompts
            .map(builder -> Collator.joint(builder, tokenizer, maxTokens()))
            .orElseGet(() -> Collator.plain(tokenizer, maxTokens()));
  }

  private int maxTokens() {
    return options.texts().maxTokens();
  }

  private Dataset<TrainingText> texts(Pretrainer.Options.Texts texts) {
    int room =
        maxTokens()
            - prompts.map(builder -> builder.minimumTokens() - 1).orElse(tokenizer.bosIds().length);
    int passage =
        texts.passageTokens() == 0
            ? Math.max(PassageSplitter.MIN_TOKENS, room)
            : texts.passageTokens();
    TextFormat format =
        new TextFormat(
            Optional.of(new PassageSplitter(tokenizer, passage)),
            texts.stripTargets() ? Optional.of(texts.stopWords()) : Optional.empty(),
            options.recipe() == Recipe.LM);
    return Dataset.ofTexts(data.files(), format).badLines(data.badLines());
  }

  /** Returns the prompts of the recipe. */
  Optional<PromptTemplate> template() {
    return options.recipe().template();
  }

  /** Reads the data through and counts the examples. */
  long count() {
    return training.count().examples();
  }

  /** Returns the examples of a run from its beginning. */
  Examples<TrainingText, TextExample> examples() {
    return new Examples<>(
        new ShuffleBuffer<>(training, data.shuffleBuffer(), options.run().seed()),
        options.run().share(),
        (text, position) -> example(text),
        heldOut());
  }

  private TextExample example(TrainingText text) {
    return TextExample.of(collator.example(text), options.recipe(), tokenizer.bosIds().length);
  }

  /** Returns this process's share of the held-out texts, as many at once as in training. */
  private List<List<TextExample>> heldOut() {
    if (data.heldOut() == 0) {
      return List.of();
    }
    Dataset<TrainingText> heldOut = texts.heldOut(data.heldOut(), true);
    heldOut.requireExamples();
    Examples.Share share = options.run().share();
    List<TextExample> mine = new ArrayList<>();
    // Drawn from all held-out documents, not from the first ones.
    try (ShuffleBuffer<TrainingText> some =
        new ShuffleBuffer<>(heldOut, data.shuffleBuffer(), 0, 1)) {
      for (int i = 0; i < data.evaluationTexts() && some.hasNext(); i++) {
        if (i % share.ranks() == share.rank()) {
          mine.add(example(some.next()));
        } else {
          some.skip(1);
        }
      }
    }
    return Lists.partition(mine, share.size() / options.microBatches());
  }

  /**
   * Returns what the trained model says of itself. One suffix is shorter than both: prompts of one
   * mode were as long as this.
   */
  Optional<LlaraJson> trainedWith() {
    return prompts.map(
        builder ->
            new LlaraJson(
                template().orElseThrow(),
                true,
                OptionalInt.of(maxTokens() - builder.suffixIds(Mode.SELF).length),
                OptionalInt.of(maxTokens() - builder.suffixIds(Mode.NEXT).length)));
  }
}
