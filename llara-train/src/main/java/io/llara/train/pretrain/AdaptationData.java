package io.llara.train.pretrain;

import io.llara.Mode;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.Reserve;
import io.llara.tokenize.Tokenizer;
import io.llara.train.data.Collator;
import io.llara.train.data.Dataset;
import io.llara.train.data.PassageSplitter;
import io.llara.train.data.TextFormat;
import io.llara.train.data.TrainingText;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.run.RunOptions;
import java.util.Optional;
import java.util.OptionalInt;

/** The texts of a run, and what they are made into. */
final class AdaptationData {
  private final Pretrainer.Options options;
  private final Tokenizer tokenizer;
  private final Optional<PromptBuilder> prompts;
  private final Collator collator;

  /**
   * Prepares to read the data.
   *
   * @throws io.llara.LlaraException if the tokenizer lacks the markers
   */
  AdaptationData(Pretrainer.Options options, BaseModel base) {
    this.options = options;
    this.tokenizer = base.tokenizer();
    String recipe = "recipe '%s'".formatted(options.recipe().spelled());
    this.prompts =
        options
            .recipe()
            .template()
            .map(template -> base.prompts(template, recipe).withReserve(Reserve.BOTH_SUFFIXES));
    this.collator =
        prompts
            .map(builder -> Collator.joint(builder, tokenizer, maxTokens()))
            .orElseGet(() -> Collator.plain(tokenizer, maxTokens()));
  }

  private int maxTokens() {
    return options.texts().maxTokens();
  }

  /**
   * Returns the examples of a run from its beginning.
   *
   * @throws io.llara.LlaraException if the data cannot be used
   */
  Examples<TrainingText, TextExample> examples() {
    RunOptions run = options.run();
    return new Examples<>(
        texts(options.texts()),
        run,
        run.data().batch() / run.compute().ranks() / options.microBatches(),
        (text, position) ->
            TextExample.of(collator.example(text), options.recipe(), tokenizer.bosIds().length));
  }

  private Dataset<TrainingText> texts(Pretrainer.Options.Texts texts) {
    RunOptions.Data data = options.run().data();
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

  /**
   * Returns what the trained model says of itself. One suffix is shorter than both: prompts of one
   * mode were as long as this.
   */
  Optional<LlaraJson> trainedWith() {
    return prompts.map(
        builder ->
            new LlaraJson(
                options.recipe().template().orElseThrow(),
                true,
                OptionalInt.of(maxTokens() - builder.suffixIds(Mode.SELF).length),
                OptionalInt.of(maxTokens() - builder.suffixIds(Mode.NEXT).length)));
  }
}
