package io.llara.train.pretrain;

import com.google.common.collect.Lists;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.lora.Dropout;
import io.llara.train.run.Lanes;
import io.llara.train.run.LossTerms;
import io.llara.train.run.Objective;
import io.llara.train.run.Workers;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * The loss of adaptation. A process's share of a batch is cut by micro-batches, and a micro-batch
 * by lanes, always in the same way.
 */
final class AdaptationObjective implements Objective<TextExample> {
  /** The sums of a lane that has no examples. */
  private static final double[] NOTHING = new double[3];

  private final LossFormula formula;
  private final AdaptationPass pass;
  private final int microBatches;
  private final Dropout dropout;
  private final Lanes lanes;
  private final int rank;

  /**
   * Makes an objective.
   *
   * @param microBatches parts that a process runs one after another
   */
  AdaptationObjective(LossFormula formula, AdaptationPass pass, int microBatches, Workers workers) {
    this.formula = formula;
    this.pass = pass;
    this.microBatches = microBatches;
    this.dropout = pass.dropout();
    this.lanes = workers.lanes();
    this.rank = workers.communicator().rank();
  }

  @Override
  public List<String> termNames() {
    return LossFormula.NAMES;
  }

  @Override
  public double[] counts(List<TextExample> examples) {
    double[] counts = new double[3];
    for (TextExample example : examples) {
      counts[LossFormula.TOKENS] += example.labelledTokens();
      counts[LossFormula.SELF] += example.self().isEmpty() ? 0 : 1;
      counts[LossFormula.NEXT] += example.next().isEmpty() ? 0 : 1;
    }
    return counts;
  }

  @Override
  public int contributors(List<TextExample> batch) {
    return microBatches * lanes.count();
  }

  @Override
  public double[] train(
      List<TextExample> batch, double[] counts, long key, GradientAccumulator gradients) {
    double[] scales = formula.scales(counts);
    List<double[]> sums = new ArrayList<>();
    for (List<TextExample> part : Lists.partition(batch, batch.size() / microBatches)) {
      int first = sums.size();
      sums.addAll(
          lanes.map(
              shares(part), (share, lane) -> train(share, scales, key, gradients, first + lane)));
    }
    return sum(sums);
  }

  private double[] train(
      List<TextExample> share,
      double[] scales,
      long key,
      GradientAccumulator gradients,
      int number) {
    dropout.start(Dropout.mix(key + (long) rank * microBatches * lanes.count() + number));
    try {
      double[] sums =
          share.isEmpty() ? NOTHING : pass.train(share, scales, gradients.contributor(number));
      gradients.finished(number);
      return sums;
    } finally {
      dropout.stop();
    }
  }

  @Override
  public double[] evaluate(List<List<TextExample>> batches) {
    List<double[]> sums = new ArrayList<>();
    for (List<TextExample> batch : batches) {
      sums.addAll(
          lanes.map(
              shares(batch), (share, lane) -> share.isEmpty() ? NOTHING : pass.evaluate(share)));
    }
    return sum(sums);
  }

  private List<List<TextExample>> shares(List<TextExample> examples) {
    return Lanes.deal(examples, TextExample::tokens, lanes.count());
  }

  private static double[] sum(List<double[]> all) {
    double[] sum = new double[3];
    all.forEach(some -> Arrays.setAll(sum, term -> sum[term] + some[term]));
    return sum;
  }

  @Override
  public Map<String, Double> terms(LossTerms loss) {
    return formula.terms(loss);
  }
}
