package io.llara.train.pretrain;

import io.llara.Mode;
import io.llara.attention.Layout;
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
import io.llara.train.distributed.Communicator;
import io.llara.train.model.TrainedModel;
import io.llara.train.run.Lanes;
import io.llara.train.run.Objective;
import io.llara.train.run.RunOptions;
import io.llara.train.run.TrainingRun;
import io.llara.train.run.TrainingTask;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/** What a {@link Pretrainer} makes of a run. */
final class AdaptationTask implements TrainingTask {
  private final PretrainSettings settings;
  private final RunOptions options;
  private final Tokenizer tokenizer;
  private final Optional<PromptBuilder> prompts;
  private final Collator collator;
  private final Dataset<TrainingText> texts;
  private final Dataset<TrainingText> training;

  AdaptationTask(PretrainSettings settings, Tokenizer tokenizer) {
    this.settings = settings;
    this.options = settings.options();
    this.tokenizer = tokenizer;
    this.prompts = settings.recipe().template().map(this::prompts);
    this.texts = texts();
    this.training = texts.heldOut(options.heldOut(), false);
    training.requireExamples();
    this.collator =
        prompts
            .map(builder -> Collator.joint(builder, tokenizer, settings.maxTokens()))
            .orElseGet(() -> Collator.plain(tokenizer, settings.maxTokens()));
  }

  private PromptBuilder prompts(PromptTemplate template) {
    return TrainingRun.prompts(
            options.model(),
            "recipe '%s'".formatted(settings.recipe().spelled()),
            template,
            tokenizer)
        .withReserve(Reserve.BOTH_SUFFIXES);
  }

  private Dataset<TrainingText> texts() {
    int room =
        settings.maxTokens()
            - prompts.map(builder -> builder.minimumTokens() - 1).orElse(tokenizer.bosIds().length);
    int passage =
        settings.passageTokens() == 0
            ? Math.max(PassageSplitter.MIN_TOKENS, room)
            : settings.passageTokens();
    TextFormat format =
        new TextFormat(
            Optional.of(new PassageSplitter(tokenizer, passage)),
            settings.stripTargets() ? Optional.of(settings.stopWords()) : Optional.empty(),
            settings.recipe() == Recipe.LM);
    return Dataset.ofTexts(options.data(), format).badLines(options.badLines());
  }

  @Override
  public long countExamples() {
    return training.count().examples();
  }

  @Override
  public Map<String, String> deciding() {
    return settings.deciding();
  }

  @Override
  public int[] markerIds() {
    return settings
        .recipe()
        .template()
        .map(template -> TrainingRun.markerIds(template, tokenizer))
        .orElseGet(() -> new int[0]);
  }

  @Override
  public boolean needsHead() {
    return true;
  }

  /** One suffix is shorter than both: prompts of one mode were as long as this. */
  @Override
  public Optional<LlaraJson> trainedWith() {
    return prompts.map(
        builder ->
            new LlaraJson(
                settings.recipe().template().orElseThrow(),
                true,
                OptionalInt.of(settings.maxTokens() - builder.suffixIds(Mode.SELF).length),
                OptionalInt.of(settings.maxTokens() - builder.suffixIds(Mode.NEXT).length)));
  }

  @Override
  public Course begin(TrainedModel model, Lanes lanes, Communicator communicator) {
    ShuffleBuffer<TrainingText> shuffled =
        new ShuffleBuffer<>(training, options.shuffleBuffer(), options.seed());
    AdaptationObjective.Texts texts =
        new AdaptationObjective.Texts(shuffled, collator, tokenizer.bosIds().length);
    Objective objective =
        new AdaptationObjective(
            texts,
            new LossFormula(settings.recipe(), settings.weights()),
            pass(model),
            model.dropout(),
            lanes,
            new AdaptationObjective.Batching(
                options.batch(),
                settings.microBatches(),
                options.rank(),
                options.ranks(),
                options.seed()),
            heldOut(texts));
    return new Course() {
      @Override
      public Objective objective() {
        return objective;
      }

      @Override
      public void goOnAfter(long step, long position) {
        shuffled.skip(position);
      }

      @Override
      public void close() {
        shuffled.close();
      }
    };
  }

  private AdaptationPass pass(TrainedModel model) {
    Layout layout = settings.visibleSelf() ? Layout.packed().withVisibleSelf() : Layout.packed();
    return new AdaptationPass(
        model,
        new VocabularyProjection(model.head()),
        settings.weights(),
        layout,
        options.recompute());
  }

  private List<Prepared> heldOut(AdaptationObjective.Texts texts) {
    if (options.heldOut() == 0) {
      return List.of();
    }
    Dataset<TrainingText> heldOut = this.texts.heldOut(options.heldOut(), true);
    heldOut.requireExamples();
    List<Prepared> mine = new ArrayList<>();
    // Drawn from all held-out documents, not from the first ones.
    try (ShuffleBuffer<TrainingText> some =
        new ShuffleBuffer<>(heldOut, options.shuffleBuffer(), 0, 1)) {
      for (int i = 0; i < options.evaluationTexts() && some.hasNext(); i++) {
        if (i % options.ranks() == options.rank()) {
          mine.add(texts.prepare(some.next(), settings.recipe()));
        } else {
          some.skip(1);
        }
      }
    }
    return mine;
  }
}
