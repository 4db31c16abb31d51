package io.llara.train.pretrain;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
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
  private final Optional<PromptTemplate> template;
  private final Optional<PromptBuilder> prompts;
  private final Collator collator;

  /**
   * Prepares to read the data.
   *
   * @throws LlaraException if the tokenizer lacks the markers, or the modes have no joint prompt
   */
  AdaptationData(Pretrainer.Options options, BaseModel base) {
    this.options = options;
    this.tokenizer = base.tokenizer();
    this.template = template(options, base);
    this.prompts = template.map(prompt -> joint(options, base, prompt));
    this.collator =
        prompts
            .map(builder -> Collator.joint(builder, tokenizer, maxTokens()))
            .orElseGet(() -> Collator.plain(tokenizer, maxTokens()));
  }

  /** A known template of the model's says how it was trained before, not what it is to become. */
  private static Optional<PromptTemplate> template(Pretrainer.Options options, BaseModel base) {
    Optional<PromptTemplate> ofRecipe = options.recipe().template();
    boolean asked = options.run().model().template().isPresent();
    return ofRecipe.isEmpty()
        ? ofRecipe
        : base.template().filter(own -> asked || !own.isKnown()).or(() -> ofRecipe);
  }

  private static PromptBuilder joint(
      Pretrainer.Options options, BaseModel base, PromptTemplate template) {
    String recipe = "recipe '%s'".formatted(options.recipe().spelled());
    boolean ofRecipe = options.recipe().template().filter(template::equals).isPresent();
    PromptBuilder builder =
        base.prompts(template, ofRecipe ? recipe : "template '%s'".formatted(template.name()));
    if (!builder.canJoin()) {
      throw new LlaraException(
          "%s: the template '%s' cannot be adapted: EBAE and EBAR take one prompt for both modes; expected the same prefix in both, and in each a suffix that pooling begins in"
              .formatted(options.run().model().path(), template.name()));
    }
    return builder.withReserve(Reserve.BOTH_SUFFIXES);
  }

  /** Returns the prompts; {@link Recipe#LM} has none. */
  Optional<PromptTemplate> template() {
    return template;
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
                template.orElseThrow(),
                true,
                OptionalInt.of(maxTokens() - builder.suffixIds(Mode.SELF).length),
                OptionalInt.of(maxTokens() - builder.suffixIds(Mode.NEXT).length)));
  }
}
