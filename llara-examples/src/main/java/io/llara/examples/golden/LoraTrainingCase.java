package io.llara.examples.golden;

import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LoraAdapter;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.train.contrastive.ContrastiveSteps;
import io.llara.train.model.TrainedModel;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The part {@code training} of {@code lora.json}: steps of AdamW on one collated batch that change
 * the adapter alone. Compared are the loss of each step, the gradients of the first, and the
 * adapter after the last.
 */
record LoraTrainingCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {

  @Override
  public Comparison run(ReplayEngines engines) {
    ContrastiveBatch batch = ContrastiveBatch.read(json);
    GoldenOptimizer optimizer = GoldenOptimizer.read(json.object("optimizer"));
    Comparison comparison = Comparison.ofTraining(engines.computeType(), batch.remark());
    int pooled = Suffixes.of(file, json).pooled();
    List<Prompt> queries = prompts(batch.queries(), Mode.NEXT, pooled);
    List<Prompt> passages = prompts(batch.passages(), Mode.SELF, pooled);
    if (!batch.compare(queries, passages, comparison)) {
      return comparison;
    }
    CheckpointDirectory base = CheckpointDirectory.open(file.beside("llama-mha"));
    try (ContrastiveSteps training =
        new ContrastiveSteps(
            TrainedModel.adapter(
                base,
                new TrainedModel.Settings(ScalarType.Float, batch.longest(), false),
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
          compare.tensors("grad", training.gradients(), Tolerance.CONTRASTIVE_GRADIENT);
        }
        optimizer.update(training);
      }
      compare.tensors("final", training.parameters(), Tolerance.FINAL_WEIGHT);
    }
    return comparison;
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
