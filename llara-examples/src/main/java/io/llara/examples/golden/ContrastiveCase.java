package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.train.contrastive.ContrastiveSteps;
import io.llara.train.contrastive.ContrastiveSteps.Outcome;
import io.llara.train.contrastive.PairCollator;
import io.llara.train.contrastive.TextModes;
import io.llara.train.optim.AdamW;
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
record ContrastiveCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {
  private static final Tolerance GRADIENT = Tolerance.CONTRASTIVE_GRADIENT;

  @Override
  public Comparison run(ReplayEngines engines) {
    ContrastiveBatch batch = ContrastiveBatch.read(json);
    Comparison comparison = Comparison.ofTraining(engines.computeType(), batch.remark());
    List<GoldenJson> texts = (json.has("source") ? json : file.json()).objects("source");
    if (texts.size() != batch.queries().count()) {
      throw new LlaraException(
          "%s: %d entries of source for %d queries"
              .formatted(json.where(), texts.size(), batch.queries().count()));
    }
    Optional<PairCollator> found = collator(batch, texts);
    if (found.isEmpty()) {
      comparison.fail("query input_ids", "no row holds the ids of its source");
      return comparison;
    }
    PairCollator collator = found.get();
    List<Prompt> queries = texts.stream().map(text -> collator.query(text.ints("query"))).toList();
    List<Prompt> passages = passages(collator, batch, texts);
    int[] targets = IntStream.range(0, texts.size()).map(i -> i * batch.group()).toArray();
    if (batch.compare(queries, passages, comparison)
        & comparison.equal("targets", Arrays.equals(targets, json.ints("targets")))) {
      compareTraining(batch, queries, passages, comparison);
    }
    return comparison;
  }

  /**
   * Returns what makes prompts with the prefix and the suffixes of the batch: those around the text
   * of the first query that is its source's, and at the end of the first passage.
   */
  private Optional<PairCollator> collator(ContrastiveBatch batch, List<GoldenJson> texts) {
    Suffixes suffixes = Suffixes.of(file, json);
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

  /** Returns where a text begins whose beginning reaches to an end. */
  private static OptionalInt textBegin(int[] tokens, int end, int[] text) {
    return IntStream.range(Math.max(0, end - text.length), end)
        .filter(begin -> Arrays.equals(tokens, begin, end, text, 0, end - begin))
        .findFirst();
  }

  /** Puts the passages of the batch's rows through our collator. */
  private static List<Prompt> passages(
      PairCollator collator, ContrastiveBatch batch, List<GoldenJson> texts) {
    List<Prompt> passages = new ArrayList<>();
    for (int row = 0; row < batch.passages().count(); row++) {
      GoldenJson text = texts.get(row / batch.group());
      List<Prompt> candidates =
          text.rows(row % batch.group() == 0 ? "pos" : "neg").stream()
              .map(collator::passage)
              .toList();
      int[] tokens = batch.passages().tokens(row);
      passages.add(
          candidates.stream()
              .filter(candidate -> Arrays.equals(candidate.ids(), tokens))
              .findFirst()
              // None is like it: the comparison of the batch will show that.
              .or(() -> candidates.stream().findFirst())
              .orElseThrow(() -> new LlaraException(text.where() + ": has no passage")));
    }
    return passages;
  }

  private void compareTraining(
      ContrastiveBatch batch, List<Prompt> queries, List<Prompt> passages, Comparison comparison) {
    int longest =
        Stream.concat(queries.stream(), passages.stream()).mapToInt(Prompt::length).max().orElse(1);
    try (ContrastiveSteps training =
        new ContrastiveSteps(
            TrainingComparison.model(file.beside("llama-mha"), longest, false),
            batch.loss(),
            AdamW.Settings.DEFAULT,
            batch.subBatch())) {
      TrainingComparison compare = new TrainingComparison(training, file, json, comparison);
      Outcome outcome = training.run(queries, passages);
      GoldenJson scalars = json.object("scalars_f64");
      int hidden = outcome.queries().length / queries.size();
      Tolerance tolerance = batch.embeddingTolerance();
      compare.tensor("q_reps", outcome.queries(), tolerance, queries.size(), hidden);
      compare.tensor("p_reps", outcome.passages(), tolerance, passages.size(), hidden);
      compare.matrix("scores", outcome.scores(), scalars, batch.scoreTolerance());
      float[] undivided = new float[outcome.scores().length];
      for (int i = 0; i < undivided.length; i++) {
        undivided[i] = (float) (outcome.scores()[i] * batch.loss().temperature());
      }
      compare.matrix("eval_scores", undivided, scalars, tolerance);
      compare.scalar("", "loss", outcome.loss(), scalars, Tolerance.CONTRASTIVE_LOSS);
      Map<String, float[]> gradients = training.gradients();
      compare.summaries("grads", gradients, GRADIENT, GRADIENT);
      compare.tensors("grad", gradients, GRADIENT);
    }
  }
}
