package io.llara.train.contrastive;

import io.llara.Internal;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LoraAdapter;
import io.llara.prompt.Prompt;
import io.llara.tensor.Libtorch;
import io.llara.tensor.Tensors;
import io.llara.train.model.TrainedModel;
import io.llara.train.optim.AdamW;
import io.llara.train.run.Lanes;
import io.llara.train.run.TrainingSteps;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * Losses, gradients and updates of given prompts, without a run around them: for replaying numbers
 * that are known. In float32, on one lane.
 *
 * <p>For one thread.
 */
@Internal
public final class ContrastiveSteps extends TrainingSteps {
  private final InfoNce loss;
  private final Lanes lanes = new Lanes(1);
  private final GradCache cache;

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

  private ContrastiveSteps(
      TrainedModel model, InfoNce loss, AdamW.Settings optimizer, int subBatch) {
    super(model, optimizer);
    this.loss = loss;
    this.cache = new GradCache(new ContrastivePass(model, false), lanes, model.dropout(), subBatch);
  }

  /**
   * Loads a checkpoint to train all of its weights, but for a projection on the vocabulary of its
   * own.
   *
   * @param positions how many positions a prompt may have
   * @param optimizer the optimiser of {@link #update}
   * @param subBatch how many prompts are run at once; 0 for all of them
   */
  public static ContrastiveSteps full(
      Path checkpoint, InfoNce loss, int positions, AdamW.Settings optimizer, int subBatch) {
    Libtorch.load();
    TrainedModel model =
        TrainedModel.full(
            CheckpointDirectory.open(checkpoint),
            new TrainedModel.Settings(ScalarType.Float, positions, false));
    return new ContrastiveSteps(model, loss, optimizer, subBatch);
  }

  /**
   * Loads a checkpoint to go on training the low-rank updates of an adapter. Its parameters are
   * named as PEFT names them, without {@code base_model.model.model.} before the name.
   *
   * @param adapter the directory of the adapter
   * @param positions how many positions a prompt may have
   * @param optimizer the optimiser of {@link #update}
   * @param subBatch how many prompts are run at once; 0 for all of them
   */
  public static ContrastiveSteps adapter(
      Path checkpoint,
      Path adapter,
      InfoNce loss,
      int positions,
      AdamW.Settings optimizer,
      int subBatch) {
    Libtorch.load();
    CheckpointDirectory base = CheckpointDirectory.open(checkpoint);
    TrainedModel model =
        TrainedModel.adapter(
            base,
            new TrainedModel.Settings(ScalarType.Float, positions, false),
            LoraAdapter.open(adapter, base.config()),
            0);
    return new ContrastiveSteps(model, loss, optimizer, subBatch);
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
    List<Prompt> prompts = Stream.concat(queries.stream(), passages.stream()).toList();
    int count = queries.size();
    InfoNce.Targets targets = new InfoNce.Targets(0, passages.size() / count);
    Whole whole = new Whole(count, targets);
    try (NoGradGuard noGrad = new NoGradGuard()) {
      gradients.begin(cache.contributors(prompts.size()));
      cache.train(prompts, 0, whole, gradients);
    }
    Outcome outcome = whole.outcome;
    if (outcome == null) {
      throw new IllegalStateException("the loss was not computed");
    }
    return outcome;
  }

  /** The loss of a batch that is all there is. */
  private final class Whole implements GradCache.Loss {
    private final int queries;
    private final InfoNce.Targets targets;
    @Nullable Outcome outcome;

    Whole(int queries, InfoNce.Targets targets) {
      this.queries = queries;
      this.targets = targets;
    }

    @Override
    public void differentiate(Tensor embeddings, Tensor gradient) {
      long passages = embeddings.size(0) - queries;
      Tensor q = embeddings.narrow(0, 0, queries);
      Tensor p = embeddings.narrow(0, queries, passages);
      InfoNce.Differentiated result = loss.differentiate(q, p, targets, 1.0 / queries);
      gradient.narrow(0, 0, queries).copy_(result.queryGradient());
      gradient.narrow(0, queries, passages).copy_(result.passageGradient());
      Tensor unitQueries = loss.embeddings(q);
      Tensor unitPassages = loss.embeddings(p);
      outcome =
          new Outcome(
              result.sums().loss() / queries,
              Tensors.toFloats(unitQueries),
              Tensors.toFloats(unitPassages),
              Tensors.toFloats(loss.scores(unitQueries, unitPassages)));
    }
  }

  @Override
  public void close() {
    lanes.close();
    super.close();
  }
}
