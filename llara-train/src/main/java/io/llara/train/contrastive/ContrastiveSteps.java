package io.llara.train.contrastive;

import com.google.common.collect.Lists;
import io.llara.Internal;
import io.llara.prompt.Prompt;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.run.TrainingSteps;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;

/**
 * Losses, gradients and updates of given prompts, without a run around them: for replaying known
 * results. In float32, on one lane.
 *
 * <p>For one thread.
 */
@Internal
public final class ContrastiveSteps extends TrainingSteps {
  private final InfoNce loss;
  private final GradCache cache;
  private final ContrastiveObjective objective;

  /**
   * What comes out of a batch.
   *
   * @param loss the loss: the mean over the queries
   * @param queries the queries' embeddings, normalised if the loss is of normalised ones, {@code
   *     [queries, hidden]} row-major
   * @param passages the passages' embeddings likewise, {@code [passages, hidden]}
   * @param scores the scores divided by the temperature, {@code [queries, passages]}
   */
  public record Outcome(double loss, float[] queries, float[] passages, float[] scores) {}

  /**
   * Takes ownership of a model. Factors of an adapter are named as PEFT names them, without {@code
   * base_model.model.model.} before the name.
   *
   * @param model in float32
   * @param optimizer the optimiser of {@link #update}
   * @param subBatch how many prompts are run at once; 0 for all of them
   */
  public ContrastiveSteps(
      TrainedModel model, InfoNce loss, AdamW.Settings optimizer, int subBatch) {
    super(model, optimizer);
    this.loss = loss;
    this.cache = new GradCache(model, workers().lanes(), false, subBatch);
    this.objective =
        new ContrastiveObjective(ContrastiveLoss.of(loss), cache, workers(), OptionalInt.empty());
  }

  /**
   * Runs a batch forward and backward.
   *
   * @param queries at least one
   * @param passages as many for each query, its positive first, query after query
   */
  public Outcome run(List<Prompt> queries, List<Prompt> passages) {
    if (queries.isEmpty() || passages.isEmpty() || passages.size() % queries.size() != 0) {
      throw new IllegalArgumentException(
          "%d passages for %d queries; expected as many for each"
              .formatted(passages.size(), queries.size()));
    }
    List<List<Prompt>> groups = Lists.partition(passages, passages.size() / queries.size());
    List<PairExample> batch =
        IntStream.range(0, queries.size())
            .mapToObj(
                i ->
                    new PairExample(
                        queries.get(i), groups.get(i), SoftTargets.NONE, "given prompts"))
            .toList();
    double mean = run(objective, batch).getOrDefault("loss", Double.NaN);
    try (TensorScope scope = new TensorScope()) {
      Tensor raw = cache.embed(PairExample.prompts(batch));
      Tensor embeddings = loss.embeddings(raw);
      Tensor ofQueries = embeddings.narrow(0, 0, queries.size());
      Tensor ofPassages = embeddings.narrow(0, queries.size(), passages.size());
      return new Outcome(
          mean,
          Tensors.toFloats(ofQueries),
          Tensors.toFloats(ofPassages),
          Tensors.toFloats(loss.scores(ofQueries, ofPassages)));
    }
  }
}
