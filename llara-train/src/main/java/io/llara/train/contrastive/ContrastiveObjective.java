package io.llara.train.contrastive;

import com.google.common.collect.Lists;
import io.llara.LlaraException;
import io.llara.prompt.Prompt;
import io.llara.tensor.TensorScope;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.data.GroupSampler;
import io.llara.train.data.TrainingPair;
import io.llara.train.distributed.Communicator;
import io.llara.train.lora.Dropout;
import io.llara.train.run.Objective;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.Tensor;

/**
 * InfoNCE over the pairs of a data set. A batch is cut by processes; a query's negatives are its
 * own and all passages of the other queries of the batch, those of other processes too, whose
 * embeddings are gathered. How the batch is cut changes nothing.
 */
final class ContrastiveObjective implements Objective {
  private static final String LOSS = "loss";
  private static final String ACCURACY = "accuracy";
  private static final List<String> TERMS = List.of(LOSS, ACCURACY);

  private final Pairs pairs;
  private final InfoNce loss;
  private final GradCache cache;
  private final Communicator communicator;
  private final Batching batching;
  private final List<PairExample> heldOut;
  private List<PairExample> batch = List.of();

  /**
   * How batches are made.
   *
   * @param batch queries a step, of all processes
   * @param ranks how many processes there are
   * @param seed what dropout draws from
   */
  record Batching(int batch, int ranks, long seed) {
    Batching {
      if (batch < 1 || batch % ranks != 0) {
        throw new IllegalArgumentException(
            "a batch of %d queries cannot be divided among %d processes".formatted(batch, ranks));
      }
    }
  }

  /** Where examples come from. */
  record Pairs(DrawnPairs drawn, GroupSampler sampler, PairCollator collator) {
    /** Returns the example of a pair that was drawn at a position of the run. */
    PairExample prepare(TrainingPair pair, long position) {
      return collator.example(sampler.sample(pair, position));
    }
  }

  /**
   * Makes an objective.
   *
   * @param communicator gathers embeddings; it is used before any gradient is given, and stays the
   *     caller's
   * @param heldOut the examples to evaluate, those of all processes
   */
  ContrastiveObjective(
      Pairs pairs,
      InfoNce loss,
      GradCache cache,
      Communicator communicator,
      Batching batching,
      List<PairExample> heldOut) {
    this.pairs = pairs;
    this.loss = loss;
    this.cache = cache;
    this.communicator = communicator;
    this.batching = batching;
    this.heldOut = List.copyOf(heldOut);
  }

  @Override
  public List<String> termNames() {
    return TERMS;
  }

  @Override
  public int contributors() {
    return cache.contributors(batch.size() * (1 + pairs.sampler().size()));
  }

  @Override
  public double[] draw() {
    long position = pairs.drawn().position();
    List<TrainingPair> drawn = pairs.drawn().nextBatch(batching.batch());
    if (drawn.size() < batching.batch()) {
      throw new LlaraException("the data ended before the run did");
    }
    int share = batching.batch() / batching.ranks();
    int first = communicator.rank() * share;
    List<PairExample> mine = new ArrayList<>();
    for (int i = first; i < first + share; i++) {
      mine.add(pairs.prepare(drawn.get(i), position + i));
    }
    batch = mine;
    return new double[] {batch.size()};
  }

  @Override
  public long position() {
    return pairs.drawn().position();
  }

  @Override
  public long tokens() {
    return batch.stream().mapToLong(PairExample::tokens).sum();
  }

  @Override
  public double[] run(long step, double[] counts, GradientAccumulator gradients) {
    List<Prompt> prompts = PairExample.prompts(batch);
    BatchLoss whole = new BatchLoss(1 / counts[0]);
    cache.train(prompts, dropoutKey(step), whole, gradients);
    return array(whole.sums);
  }

  private long dropoutKey(long step) {
    return Dropout.mix(Dropout.mix(batching.seed() + step) + communicator.rank());
  }

  private static double[] array(InfoNce.Sums sums) {
    return new double[] {sums.loss(), sums.hits()};
  }

  /** The losses of this process's queries against the passages of all. */
  private final class BatchLoss implements GradCache.Loss {
    private final double scale;
    InfoNce.Sums sums = InfoNce.Sums.ZERO;

    BatchLoss(double scale) {
      this.scale = scale;
    }

    @Override
    public void differentiate(Tensor embeddings, Tensor gradient) {
      int queries = batch.size();
      int group = pairs.sampler().size();
      long passages = (long) queries * group;
      long first = communicator.rank() * passages;
      Tensor all = communicator.allGather(embeddings.narrow(0, queries, passages));
      InfoNce.Differentiated result =
          loss.differentiate(
              embeddings.narrow(0, 0, queries),
              all,
              new InfoNce.Targets(Math.toIntExact(first), group),
              scale);
      sums = result.sums();
      gradient.narrow(0, 0, queries).copy_(result.queryGradient());
      Tensor allGradient = result.passageGradient();
      // The queries of the other processes have gradients by this one's passages, too.
      communicator.allReduce(allGradient);
      gradient.narrow(0, queries, passages).copy_(allGradient.narrow(0, first, passages));
    }
  }

  @Override
  public Map<String, Double> terms(double[] sums, double[] counts) {
    Map<String, Double> terms = new LinkedHashMap<>();
    terms.put(LOSS, sums[0] / counts[0]);
    terms.put(ACCURACY, sums[1] / counts[0]);
    return terms;
  }

  @Override
  public String describeBatch() {
    return batch.stream().map(PairExample::origin).collect(Collectors.joining(", "));
  }

  /**
   * Held-out pairs are evaluated in batches as large as those of training, each by one process: the
   * loss has as many negatives as in training, but for the last batch, and does not depend on how
   * many processes there are.
   */
  @Override
  public Evaluation evaluation() {
    List<List<PairExample>> mine = new ArrayList<>();
    List<List<PairExample>> all = Lists.partition(heldOut, batching.batch());
    for (int i = communicator.rank(); i < all.size(); i += communicator.size()) {
      mine.add(all.get(i));
    }
    return new Evaluation() {
      @Override
      public boolean present() {
        return !mine.isEmpty();
      }

      @Override
      public double[] counts() {
        return new double[] {mine.stream().mapToInt(List::size).sum()};
      }

      @Override
      public double[] run() {
        return array(
            mine.stream()
                .map(ContrastiveObjective.this::evaluate)
                .reduce(InfoNce.Sums.ZERO, InfoNce.Sums::plus));
      }
    };
  }

  private InfoNce.Sums evaluate(List<PairExample> examples) {
    try (TensorScope scope = new TensorScope()) {
      Tensor embeddings = cache.embed(PairExample.prompts(examples));
      long queries = examples.size();
      InfoNce.Sums[] sums = {InfoNce.Sums.ZERO};
      cache.onLane(
          () -> {
            try (TensorScope inner = new TensorScope()) {
              sums[0] =
                  loss.losses(
                      embeddings.narrow(0, 0, queries),
                      embeddings.narrow(0, queries, embeddings.size(0) - queries),
                      new InfoNce.Targets(0, pairs.sampler().size()));
            }
          });
      return sums[0];
    }
  }
}
