package io.llara.train.contrastive;

import io.llara.LlaraException;
import io.llara.checkpoint.LlaraJson;
import io.llara.io.Messages;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.run.RunOptions;
import io.llara.train.teacher.TeacherVectors;
import io.llara.train.teacher.TextKind;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The pairs of a run, and what they are made into. */
final class ContrastiveData implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ContrastiveData.class);

  private final ContrastiveTrainer.Options options;
  private final PromptTemplate template;
  private final PairCollator collator;
  private final Optional<TeacherVectors> teacher;

  /**
   * Prepares to read the data.
   *
   * @throws LlaraException if the tokenizer lacks the markers, the model's vectors are shorter than
   *     a prefix, or the teacher's cannot be used
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
    options.loss().matryoshka().within(base.config().hiddenSize());
    List<Path> vectors = options.loss().distillation().vectors();
    this.teacher = vectors.isEmpty() ? Optional.empty() : Optional.of(TeacherVectors.open(vectors));
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
   * <p>Where there is a teacher, all pairs are read once: better now than in the middle of the run
   * something turns out to be missing.
   *
   * @throws LlaraException if the data cannot be used, or the teacher has no vector of a text
   */
  Examples<TrainingPair, PairExample> examples() {
    RunOptions.Data data = options.run().data();
    Dataset<TrainingPair> pairs = pairs(data.files()).badLines(data.badLines());
    if (teacher.isPresent()) {
      long bad = pairs.count().badLines();
      if (bad > 0) {
        LOG.warn("{}: {} lines cannot be used and are skipped", pairs, bad);
      }
    }
    return new Examples<>(
        pairs,
        options.run(),
        data.batch(),
        (pair, position) -> {
          TrainingPair drawn = options.groups().sample(pair, position);
          return collator.example(drawn, new SoftTargets(vectors(drawn), drawn.scores()));
        });
  }

  /** Returns pairs with refreshed negatives: those of training alone, and whole. */
  Dataset<TrainingPair> refreshed(Path file) {
    return pairs(List.of(file));
  }

  private Dataset<TrainingPair> pairs(List<Path> files) {
    Dataset<TrainingPair> pairs =
        options.loss().distillation().scores() > 0
            ? Dataset.ofScoredPairs(files, minNegatives())
            : Dataset.ofPairs(files, minNegatives());
    return teacher
        .map(vectors -> pairs.checked(pair -> requireVectors(pair, vectors)))
        .orElse(pairs);
  }

  private static void requireVectors(TrainingPair pair, TeacherVectors vectors) {
    if (!vectors.has(TextKind.QUERY, pair.query())) {
      throw missing(pair, "query", pair.query());
    }
    for (String passage : pair.passages()) {
      if (!vectors.has(TextKind.PASSAGE, passage)) {
        throw missing(pair, "passage", passage);
      }
    }
  }

  private static LlaraException missing(TrainingPair pair, String kind, String text) {
    return new LlaraException(
        "%s: the teacher has no vector of the %s %s; expected one of each text (llara teach)"
            .formatted(pair.origin(), kind, Messages.quote(text)));
  }

  /** Returns the teacher's vectors of the query and the passages; none if there is no teacher. */
  private List<float[]> vectors(TrainingPair pair) {
    List<float[]> vectors = new ArrayList<>();
    teacher.ifPresent(
        all -> {
          vectors.add(all.vector(TextKind.QUERY, pair.query()).orElseThrow());
          pair.passages()
              .forEach(text -> vectors.add(all.vector(TextKind.PASSAGE, text).orElseThrow()));
        });
    return vectors;
  }

  /** Returns the length of the teacher's vectors, if there are any. */
  OptionalInt teacherDimension() {
    return teacher.stream().mapToInt(TeacherVectors::dimension).findFirst();
  }

  /** Returns what the trained model says of itself. */
  Optional<LlaraJson> trainedWith() {
    return Optional.of(
        new LlaraJson(
            template,
            options.loss().infoNce().normalized(),
            OptionalInt.of(options.prompts().queryMaxTokens()),
            OptionalInt.of(options.prompts().passageMaxTokens()),
            options.prompts().modes()));
  }

  @Override
  public void close() {
    teacher.ifPresent(TeacherVectors::close);
  }
}
