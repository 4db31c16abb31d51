package io.llara.train.contrastive;

import io.llara.tensor.TensorScope;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.distributed.Communicator;
import io.llara.train.lora.Dropout;
import io.llara.train.run.Objective;
import io.llara.train.run.Workers;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;

/**
 * InfoNCE. A query's negatives are its own and all passages of the other queries of the batch,
 * those of other processes too, whose embeddings are gathered.
 */
final class ContrastiveObjective implements Objective<PairExample> {
  private static final List<String> NAMES = List.of("loss", "accuracy");

  private final InfoNce loss;
  private final GradCache cache;
  private final Communicator communicator;

  /**
   * Makes an objective.
   *
   * @param workers gather embeddings; they are used before any gradient is given
   */
  ContrastiveObjective(InfoNce loss, GradCache cache, Workers workers) {
    this.loss = loss;
    this.cache = cache;
    this.communicator = workers.communicator();
  }

  @Override
  public List<String> termNames() {
    return NAMES;
  }

  @Override
  public double[] counts(List<PairExample> examples) {
    return new double[] {examples.size(), examples.size()};
  }

  @Override
  public int contributors(List<PairExample> batch) {
    return cache.contributors(batch.size() * (1 + group(batch)));
  }

  /** Returns how many passages each query has. */
  private static int group(List<PairExample> batch) {
    return batch.get(0).passages().size();
  }

  @Override
  public double[] train(
      List<PairExample> batch, double[] counts, long key, GradientAccumulator gradients) {
    InfoNce.Sums[] sums = new InfoNce.Sums[1];
    cache.train(
        PairExample.prompts(batch),
        Dropout.mix(key + communicator.rank()),
        (embeddings, gradient) ->
            sums[0] = differentiate(batch, 1 / counts[0], embeddings, gradient),
        gradients);
    return array(sums[0]);
  }

  /** Computes the losses of this process's queries against the passages of all. */
  private InfoNce.Sums differentiate(
      List<PairExample> batch, double scale, Tensor embeddings, Tensor gradient) {
    int queries = batch.size();
    int group = group(batch);
    long passages = (long) queries * group;
    long first = communicator.rank() * passages;
    Tensor all = communicator.allGather(embeddings.narrow(0, queries, passages));
    InfoNce.Differentiated result =
        loss.differentiate(
            embeddings.narrow(0, 0, queries),
            all,
            new InfoNce.Targets(Math.toIntExact(first), group),
            scale);
    gradient.narrow(0, 0, queries).copy_(result.queryGradient());
    Tensor allGradient = result.passageGradient();
    // The queries of the other processes have gradients by this one's passages, too.
    communicator.allReduce(allGradient);
    gradient.narrow(0, queries, passages).copy_(allGradient.narrow(0, first, passages));
    return result.sums();
  }

  private static double[] array(InfoNce.Sums sums) {
    return new double[] {sums.loss(), sums.hits()};
  }

  /** Each batch is evaluated by itself: the loss has as many negatives as in training. */
  @Override
  public double[] evaluate(List<List<PairExample>> batches) {
    return array(
        batches.stream().map(this::evaluateBatch).reduce(InfoNce.Sums.ZERO, InfoNce.Sums::plus));
  }

  private InfoNce.Sums evaluateBatch(List<PairExample> batch) {
    try (TensorScope scope = new TensorScope()) {
      Tensor embeddings = cache.embed(PairExample.prompts(batch));
      long queries = batch.size();
      return cache.onLane(
          () -> {
            try (TensorScope inner = new TensorScope()) {
              return loss.losses(
                  embeddings.narrow(0, 0, queries),
                  embeddings.narrow(0, queries, embeddings.size(0) - queries),
                  new InfoNce.Targets(0, group(batch)));
            }
          });
    }
  }

  @Override
  public Map<String, Double> terms(double[] sums, double[] counts) {
    Map<String, Double> means = new LinkedHashMap<>();
    for (int i = 0; i < NAMES.size(); i++) {
      means.put(NAMES.get(i), sums[i] / counts[i]);
    }
    return means;
  }
}
