package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.TextModes;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LoraAdapter;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.train.contrastive.ContrastiveSteps;
import io.llara.train.contrastive.ContrastiveSteps.Outcome;
import io.llara.train.contrastive.InfoNce;
import io.llara.train.contrastive.PairCollator;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A case of {@code contrastive.json}, or the part {@code training} of {@code lora.json}.
 *
 * <p>The former gives queries and passages as raw ids. Compared are the batch that our collator
 * makes of them, the embeddings, the scores, the loss and the gradients. Which negatives stand
 * where is the reference's random choice, read from its batch. The latter are steps of AdamW on one
 * collated batch that change the adapter alone. Compared are the loss of each step, the gradients
 * of the first, and the adapter after the last.
 */
record ContrastiveCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {
  private static final Tolerance GRADIENT = Tolerance.CONTRASTIVE_GRADIENT;

  /**
   * A batch of queries and passages as the reference's collator made it, both padded on the left,
   * and its loss.
   *
   * @param queries {@code [queries, width]}
   * @param passages {@code [queries · group, width]}, the positive of each query first
   * @param group passages a query
   * @param loss what is computed
   * @param subBatch prompts that are run at once; 0 for all of them
   * @param remark a remark on the loss; may be empty
   */
  private record Batch(
      PaddedRows queries,
      PaddedRows passages,
      int group,
      InfoNce loss,
      int subBatch,
      String remark) {

    /**
     * Reads a case. The reference resets the temperature of embeddings that are not normalised to
     * 1; the case names the one it used. This library takes the temperature that it is given.
     */
    static Batch read(GoldenJson json) {
      // Spelled so in the reference.
      boolean normalized = json.bool("normlized");
      double given = json.number("temperature");
      String effective = "effective_temperature";
      double used = json.has(effective) ? json.number(effective) : normalized ? given : 1;
      String remark =
          used == given
              ? ""
              : String.format(
                  Locale.ROOT, "; temperature %s, to which the reference resets %s", used, given);
      int group = json.integer("train_group_size");
      int subBatch = json.has("sub_batch_size") ? json.integer("sub_batch_size") : 0;
      PaddedRows queries = PaddedRows.read(json.object("query"));
      PaddedRows passages = PaddedRows.read(json.object("passage"));
      if (passages.count() != (long) queries.count() * group) {
        throw new LlaraException(
            "%s: %d passages for %d queries in groups of %d"
                .formatted(json.where(), passages.count(), queries.count(), group));
      }
      InfoNce loss = new InfoNce(used, normalized);
      return new Batch(queries, passages, group, loss, Math.max(0, subBatch), remark);
    }

    /** Compares our prompts, padded as these rows are; returns whether they are the same. */
    boolean compare(List<Prompt> ourQueries, List<Prompt> ourPassages, Comparison comparison) {
      return queries.compare("query ", PaddedRows.of(ourQueries, queries.width()), comparison)
          & passages.compare("passage ", PaddedRows.of(ourPassages, passages.width()), comparison);
    }
  }

  @Override
  public Comparison run(ReplayEngines engines) {
    Batch batch = Batch.read(json);
    Comparison comparison = Comparison.ofTraining(engines.computeType(), batch.remark());
    Suffixes suffixes = Suffixes.of(file, json);
    if (json.has("steps")) {
      compareSteps(batch, suffixes.pooled(), engines, comparison);
    } else {
      compareBatch(batch, suffixes, engines, comparison);
    }
    return comparison;
  }

  private void compareBatch(
      Batch batch, Suffixes suffixes, ReplayEngines engines, Comparison comparison) {
    List<GoldenJson> texts = (json.has("source") ? json : file.json()).objects("source");
    if (texts.size() != batch.queries().count()) {
      throw new LlaraException(
          "%s: %d entries of source for %d queries"
              .formatted(json.where(), texts.size(), batch.queries().count()));
    }
    Optional<PairCollator> found = collator(batch, suffixes, texts);
    if (found.isEmpty()) {
      comparison.fail("query input_ids", "no row holds the ids of its source");
      return;
    }
    PairCollator collator = found.get();
    List<Prompt> queries = texts.stream().map(text -> collator.query(text.ints("query"))).toList();
    List<Prompt> passages = passages(collator, batch, texts);
    int[] targets = IntStream.range(0, texts.size()).map(i -> i * batch.group()).toArray();
    if (batch.compare(queries, passages, comparison)
        & comparison.equal("targets", Arrays.equals(targets, json.ints("targets")))) {
      compareGradients(batch, queries, passages, engines, comparison);
    }
  }

  /**
   * Returns what makes prompts with the prefix and the suffixes of the batch: those around the text
   * of the first query that is its source's, and at the end of the first passage.
   */
  private Optional<PairCollator> collator(Batch batch, Suffixes suffixes, List<GoldenJson> texts) {
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
  private static List<Prompt> passages(PairCollator collator, Batch batch, List<GoldenJson> texts) {
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

  private void compareGradients(
      Batch batch,
      List<Prompt> queries,
      List<Prompt> passages,
      ReplayEngines engines,
      Comparison comparison) {
    int longest =
        Stream.concat(queries.stream(), passages.stream()).mapToInt(Prompt::length).max().orElse(1);
    try (ContrastiveSteps training =
        new ContrastiveSteps(
            TrainingComparison.model(file.beside("llama-mha"), longest, false, engines),
            batch.loss(),
            AdamW.Settings.DEFAULT,
            batch.subBatch())) {
      TrainingComparison compare = new TrainingComparison(training, file, json, comparison);
      Outcome outcome = training.run(queries, passages);
      GoldenJson scalars = json.object("scalars_f64");
      int hidden = outcome.queries().length / queries.size();
      boolean normalized = batch.loss().normalized();
      Tolerance tolerance = normalized ? Tolerance.UNIT_EMBEDDING : Tolerance.RAW_EMBEDDING;
      Tolerance ofScores = normalized ? Tolerance.SCORE : Tolerance.RAW_EMBEDDING;
      compare.tensor("q_reps", outcome.queries(), tolerance, queries.size(), hidden);
      compare.tensor("p_reps", outcome.passages(), tolerance, passages.size(), hidden);
      compare.matrix("scores", outcome.scores(), scalars, ofScores);
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

  private void compareSteps(Batch batch, int pooled, ReplayEngines engines, Comparison comparison) {
    GoldenOptimizer optimizer = GoldenOptimizer.read(json.object("optimizer"));
    List<Prompt> queries = prompts(batch.queries(), Mode.NEXT, pooled);
    List<Prompt> passages = prompts(batch.passages(), Mode.SELF, pooled);
    if (!batch.compare(queries, passages, comparison)) {
      return;
    }
    CheckpointDirectory base = CheckpointDirectory.open(file.beside("llama-mha"));
    int longest = Math.max(batch.queries().width(), batch.passages().width());
    try (ContrastiveSteps training =
        new ContrastiveSteps(
            TrainedModel.adapter(
                base,
                TrainingComparison.settings(longest, false, engines),
                LoraAdapter.open(file.beside("lora"), base.config()),
                0),
            batch.loss(),
            optimizer.settings(),
            batch.subBatch())) {
      TrainingComparison compare = new TrainingComparison(training, file, json, comparison);
      List<GoldenJson> steps = json.objects("steps");
      for (int i = 0; i < steps.size(); i++) {
        compare.scalar(
            "step %d ".formatted(i + 1),
            "loss",
            training.run(queries, passages).loss(),
            steps.get(i).object("scalars_f64"),
            Tolerance.CONTRASTIVE_LOSS);
        if (i == 0) {
          compare.tensors("grad", training.gradients(), GRADIENT);
        }
        optimizer.update(training);
      }
      compare.tensors("final", training.parameters(), Tolerance.FINAL_WEIGHT);
    }
  }

  /** Returns the rows as prompts: what matters of a suffix are the tokens that are pooled. */
  private static List<Prompt> prompts(PaddedRows rows, Mode mode, int pooled) {
    return IntStream.range(0, rows.count())
        .mapToObj(
            row -> {
              int[] tokens = rows.tokens(row);
              int end = Math.max(1, tokens.length - pooled);
              int[] markers = Arrays.copyOfRange(tokens, end, tokens.length);
              return PromptBuilder.ofIds(new int[0], markers, markers, markers.length)
                  .fromIds(Arrays.copyOf(tokens, end), mode);
            })
        .toList();
  }
}
