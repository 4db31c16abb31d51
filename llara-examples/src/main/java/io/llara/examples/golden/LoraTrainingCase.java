package io.llara.examples.golden;

import io.llara.Mode;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.train.contrastive.ContrastiveSteps;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * The part {@code training} of {@code lora.json}: steps of AdamW on one collated batch that change
 * the adapter alone. Compared are the loss of each step, the gradients of the first, and the
 * adapter after the last.
 */
record LoraTrainingCase(GoldenFile source, SafetensorsFile tensors, GoldenJson json)
    implements FileCase {
  private static final String TRAINING = "training";

  /** Returns the case of a file, if it has one. */
  static Optional<GoldenCase> read(GoldenFile file) {
    return file.json().has(TRAINING)
        ? Optional.of(new LoraTrainingCase(file, file.openTensors(), file.json().object(TRAINING)))
        : Optional.empty();
  }

  @Override
  public String name() {
    return json.optionalString("name").orElse(TRAINING);
  }

  @Override
  public CaseReport replay(ReplayEngines engines) {
    ContrastiveLoss loss = ContrastiveLoss.read(json);
    GoldenOptimizer optimizer = GoldenOptimizer.read(json.object("optimizer"));
    Judge judge = engines.trainingJudge(loss.remark());
    CollatedPairs batch = CollatedPairs.read(json, loss.group());
    int pooled = Suffixes.of(source.folder(), json.optionalString("recipe")).pooled();
    List<Prompt> queries = prompts(batch.queries(), Mode.NEXT, pooled);
    List<Prompt> passages = prompts(batch.passages(), Mode.SELF, pooled);
    if (!batch.compare(judge, queries, passages)) {
      return judge.report();
    }
    int longest = Math.max(batch.queries().width(), batch.passages().width());
    try (ContrastiveSteps training =
        ContrastiveSteps.adapter(
            source.folder().resolve("llama-mha"),
            source.folder().resolve("lora"),
            loss.loss(),
            longest,
            optimizer.settings(),
            loss.subBatch())) {
      TrainingNumbers numbers = new TrainingNumbers(training, tensors, json, judge);
      List<GoldenJson> steps = json.objects("steps");
      for (int i = 0; i < steps.size(); i++) {
        double value = training.run(queries, passages).loss();
        GoldenJson scalars = steps.get(i).object("scalars_f64");
        numbers.scalar(
            "step " + (i + 1) + " ", "loss", value, scalars, Tolerances.CONTRASTIVE_LOSS);
        if (i == 0) {
          numbers.tensors("grad", training.gradients(), Tolerances.CONTRASTIVE_GRADIENT);
        }
        optimizer.update(training);
      }
      Map<String, float[]> adapter = training.parameters();
      numbers.tensors("final", adapter, Tolerances.FINAL_WEIGHT);
    }
    return judge.report();
  }

  /** Returns the rows as prompts: what matters of a suffix are the tokens that are pooled. */
  private static List<Prompt> prompts(GoldenRows rows, Mode mode, int pooled) {
    return IntStream.range(0, rows.batch())
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
