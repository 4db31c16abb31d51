package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.train.contrastive.ContrastiveSteps;
import io.llara.train.contrastive.ContrastiveSteps.Outcome;
import io.llara.train.contrastive.PairCollator;
import io.llara.train.contrastive.TextModes;
import io.llara.train.optim.AdamW;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A case of {@code contrastive.json}: queries and passages as raw ids. Compared are the batch that
 * our collator makes of them, the embeddings, the scores, the loss and the gradients. Which
 * negatives stand where is the reference's random choice, read from its batch.
 */
record ContrastiveCase(GoldenFile source, SafetensorsFile tensors, GoldenJson json)
    implements FileCase {
  private static final TrainingNumbers.ParameterTolerances GRADIENTS =
      new TrainingNumbers.ParameterTolerances(
          Tolerances.CONTRASTIVE_GRADIENT, Tolerances.CONTRASTIVE_GRADIENT);

  static List<GoldenCase> read(GoldenFile file) {
    SafetensorsFile tensors = file.openTensors();
    return file.cases().stream()
        .<GoldenCase>map(json -> new ContrastiveCase(file, tensors, json))
        .toList();
  }

  @Override
  public CaseReport replay(ReplayEngines engines) {
    ContrastiveLoss loss = ContrastiveLoss.read(json);
    Judge judge = engines.trainingJudge(loss.remark());
    CollatedPairs batch = CollatedPairs.read(json, loss.group());
    List<GoldenJson> texts = (json.has("source") ? json : source.json()).objects("source");
    if (texts.size() != batch.queries().batch()) {
      throw new LlaraException(
          "%s: %d entries of source for %d queries"
              .formatted(json.where(), texts.size(), batch.queries().batch()));
    }
    Optional<PairCollator> found = collator(batch, texts);
    if (found.isEmpty()) {
      judge.unlike("query input_ids", "no row holds the ids of its source");
      return judge.report();
    }
    PairCollator collator = found.get();
    List<Prompt> queries = texts.stream().map(text -> collator.query(text.ints("query"))).toList();
    List<Prompt> passages = passages(collator, batch.passages(), texts, loss.group());
    int[] targets = IntStream.range(0, queries.size()).map(query -> query * loss.group()).toArray();
    boolean same =
        batch.compare(judge, queries, passages)
            & judge.equal("targets", Arrays.equals(targets, json.ints("targets")));
    if (same) {
      compareTraining(loss, queries, passages, judge);
    }
    return judge.report();
  }

  /**
   * Returns what makes prompts with the prefix and the suffixes that stand in the batch: around the
   * text of the first query that is its source's, and at the end of the first passage.
   */
  private Optional<PairCollator> collator(CollatedPairs batch, List<GoldenJson> texts) {
    Suffixes suffixes = Suffixes.of(source.folder(), json.optionalString("recipe"));
    int[] passage = batch.passages().tokens(0);
    int[] selfSuffix =
        Arrays.copyOfRange(passage, Math.max(0, passage.length - suffixes.self()), passage.length);
    for (int row = 0; row < texts.size(); row++) {
      int[] query = batch.queries().tokens(row);
      int textEnd = Math.max(0, query.length - suffixes.next());
      OptionalInt textBegin = textBegin(query, textEnd, texts.get(row).ints("query"));
      if (textBegin.isPresent()) {
        return Optional.of(
            new PairCollator(
                PromptBuilder.ofIds(
                    Arrays.copyOf(query, textBegin.getAsInt()),
                    selfSuffix,
                    Arrays.copyOfRange(query, textEnd, query.length),
                    suffixes.pooled()),
                TextModes.N2S,
                json.integer("query_max_len"),
                json.integer("passage_max_len")));
      }
    }
    return Optional.empty();
  }

  /** Returns where the beginning of a text stands that goes on to an end. */
  private static OptionalInt textBegin(int[] tokens, int end, int[] text) {
    return IntStream.range(Math.max(0, end - text.length), end)
        .filter(begin -> Arrays.equals(tokens, begin, end, text, 0, end - begin))
        .findFirst();
  }

  /** Puts the passages of the batch's rows through our collator. */
  private static List<Prompt> passages(
      PairCollator collator, GoldenRows rows, List<GoldenJson> texts, int group) {
    List<Prompt> passages = new ArrayList<>();
    for (int row = 0; row < rows.batch(); row++) {
      GoldenJson text = texts.get(row / group);
      List<Prompt> candidates =
          text.rows(row % group == 0 ? "pos" : "neg").stream().map(collator::passage).toList();
      int[] tokens = rows.tokens(row);
      passages.add(
          candidates.stream()
              .filter(candidate -> Arrays.equals(candidate.ids(), tokens))
              .findFirst()
              // None is like it: the comparison of the batch will tell.
              .or(() -> candidates.stream().findFirst())
              .orElseThrow(() -> new LlaraException(text.where() + ": has no passage")));
    }
    return passages;
  }

  private void compareTraining(
      ContrastiveLoss loss, List<Prompt> queries, List<Prompt> passages, Judge judge) {
    Path checkpoint = source.folder().resolve("llama-mha");
    int longest =
        Stream.concat(queries.stream(), passages.stream()).mapToInt(Prompt::length).max().orElse(1);
    try (ContrastiveSteps training =
        ContrastiveSteps.full(
            checkpoint, loss.loss(), longest, AdamW.Settings.DEFAULT, loss.subBatch())) {
      TrainingNumbers numbers = new TrainingNumbers(training, tensors, json, judge);
      Outcome outcome = training.run(queries, passages);
      GoldenJson scalars = json.object("scalars_f64");
      int hidden = outcome.queries().length / queries.size();
      numbers.compare("q_reps", outcome.queries(), loss.embedding(), queries.size(), hidden);
      numbers.compare("p_reps", outcome.passages(), loss.embedding(), passages.size(), hidden);
      matrix("scores", outcome.scores(), scalars, loss.scores(), judge);
      matrix("eval_scores", undivided(outcome.scores(), loss), scalars, loss.embedding(), judge);
      numbers.scalar("", "loss", outcome.loss(), scalars, Tolerances.CONTRASTIVE_LOSS);
      Map<String, float[]> gradients = training.gradients();
      numbers.summaries("grads", gradients, GRADIENTS);
      numbers.tensors("grad", gradients, Tolerances.CONTRASTIVE_GRADIENT);
    }
  }

  private static float[] undivided(float[] scores, ContrastiveLoss loss) {
    float[] undivided = new float[scores.length];
    for (int i = 0; i < scores.length; i++) {
      undivided[i] = (float) (scores[i] * loss.loss().temperature());
    }
    return undivided;
  }

  private static void matrix(
      String key, float[] actual, GoldenJson scalars, Tolerance tolerance, Judge judge) {
    double[] expected = scalars.matrix(key);
    if (expected.length != actual.length) {
      throw new LlaraException(
          "%s: %s has %d numbers; expected %d"
              .formatted(scalars.where(), key, expected.length, actual.length));
    }
    judge.numbers(key, actual, expected, tolerance);
  }
}
