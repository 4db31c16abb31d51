package io.llara.benchmarks;

import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.StorageType;
import io.llara.prompt.Prompt;
import io.llara.tensor.TensorScope;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.distributed.Lanes;
import io.llara.train.model.TrainedModel;
import io.llara.train.pretrain.Bag;
import io.llara.train.pretrain.VocabularyProjection;
import io.llara.train.pretrain.VocabularyProjection.Loss;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Forward and backward of a next-token loss through a whole model, all weights trained: what a step
 * of training does without its optimiser. A lane per core, a micro-batch each, gradients summed.
 */
final class TrainingStep implements AutoCloseable {
  private final TrainedModel model;
  private final Lanes lanes;
  private final GradientAccumulator sums;
  private final List<List<Prompt>> microBatches = new ArrayList<>();
  private final int rows;

  /** Random weights and tokens; files lie in {@code dir} until this is closed. */
  TrainingStep(LlamaConfig config, ScalarType type, int sequences, int length, int lanes, Path dir)
      throws IOException {
    RandomCheckpoint.write(dir, config, StorageType.F32);
    this.model =
        TrainedModel.full(
            CheckpointDirectory.open(dir), new TrainedModel.Settings(type, length, true));
    this.lanes = new Lanes(lanes);
    this.sums = new GradientAccumulator(model.parameters(), (total, index) -> {});
    this.rows = sequences * length;
    SplittableRandom random = new SplittableRandom(1);
    for (int lane = 0; lane < lanes; lane++) {
      int share = sequences / lanes + (lane < sequences % lanes ? 1 : 0);
      if (share > 0) {
        microBatches.add(
            IntStream.range(0, share)
                .mapToObj(
                    i -> Prompt.plain(random.ints(length, 0, config.vocabularySize()).toArray()))
                .toList());
      }
    }
  }

  /** Runs once and returns the mean loss. */
  double run(boolean recompute) {
    sums.begin(microBatches.size());
    List<Callable<Double>> tasks = new ArrayList<>();
    for (int i = 0; i < microBatches.size(); i++) {
      int number = i;
      tasks.add(() -> pass(number, recompute));
    }
    double sum = lanes.run(tasks).stream().mapToDouble(Double::doubleValue).sum();
    sums.totals();
    return sum / rows;
  }

  private double pass(int number, boolean recompute) {
    List<Prompt> prompts = microBatches.get(number);
    AttentionMask mask = AttentionMaskFactory.create(prompts, Layout.packed());
    int[] ids = mask.rowIds();
    // Each row predicts the next; the last of a sequence predicts the first of the one after it.
    List<Bag> targets =
        IntStream.range(0, ids.length).mapToObj(i -> Bag.of(ids[(i + 1) % ids.length])).toList();
    double[] sum = new double[1];
    model.differentiate(
        mask,
        IntStream.range(0, ids.length).toArray(),
        recompute,
        (hidden, head) -> {
          Loss loss =
              new VocabularyProjection(model.head()).loss(hidden, 1, targets, 1.0 / rows, head);
          sum[0] = loss.sum();
          return loss.hiddenGradient();
        },
        sums.contributor(number));
    sums.finished(number);
    return sum[0];
  }

  /** Returns the norm of all gradients of the last run. */
  double gradientNorm() {
    double squares = 0;
    try (TensorScope scope = new TensorScope()) {
      for (Tensor total : sums.totals()) {
        squares += Math.pow(total.norm().item_double(), 2);
      }
    }
    return Math.sqrt(squares);
  }

  /** Returns the number of tokens of a step. */
  int tokens() {
    return rows;
  }

  @Override
  public void close() {
    lanes.close();
    sums.close();
    model.close();
  }

  @Override
  public String toString() {
    return Arrays.toString(microBatches.stream().mapToInt(List::size).toArray());
  }
}
