package io.llara.train.pretrain;

import com.google.common.collect.Lists;
import io.llara.LlaraException;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.data.Collator;
import io.llara.train.data.ShuffleBuffer;
import io.llara.train.data.TrainingText;
import io.llara.train.lora.Dropout;
import io.llara.train.run.Lanes;
import io.llara.train.run.Objective;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;

/**
 * The loss of adaptation over the texts of a data set. A batch is cut by processes, a process's
 * share by micro-batches, and a micro-batch by lanes, always in the same way.
 */
final class AdaptationObjective implements Objective {
  private static final String LOSS = "loss";
  private static final List<String> TERMS = List.of(LOSS, "ar_loss", "self_loss", "next_loss");

  private final Texts texts;
  private final LossFormula formula;
  private final AdaptationPass pass;
  private final Dropout dropout;
  private final Lanes lanes;
  private final Batching batching;
  private final List<Prepared> heldOut;
  private List<Prepared> batch = List.of();

  /**
   * How batches are cut.
   *
   * @param batch examples a step, of all processes
   * @param microBatches parts that a process runs one after another
   * @param rank the number of this process
   * @param ranks how many processes there are
   * @param seed what dropout draws from
   */
  record Batching(int batch, int microBatches, int rank, int ranks, long seed) {
    Batching {
      if (batch < 1 || batch % (ranks * microBatches) != 0) {
        throw new IllegalArgumentException(
            "a batch of %d examples cannot be divided among %d processes with %d micro-batches each"
                .formatted(batch, ranks, microBatches));
      }
    }
  }

  /** Where examples come from. */
  record Texts(ShuffleBuffer<TrainingText> shuffled, Collator collator, int bosTokens) {
    Prepared prepare(TrainingText text, Recipe recipe) {
      return Prepared.of(collator.example(text), recipe, bosTokens);
    }
  }

  /**
   * Makes an objective.
   *
   * @param heldOut this process's part of the examples to evaluate
   */
  AdaptationObjective(
      Texts texts,
      LossFormula formula,
      AdaptationPass pass,
      Dropout dropout,
      Lanes lanes,
      Batching batching,
      List<Prepared> heldOut) {
    this.texts = texts;
    this.formula = formula;
    this.pass = pass;
    this.dropout = dropout;
    this.lanes = lanes;
    this.batching = batching;
    this.heldOut = List.copyOf(heldOut);
  }

  @Override
  public List<String> termNames() {
    return TERMS;
  }

  @Override
  public int contributors() {
    return batching.microBatches() * lanes.count();
  }

  @Override
  public double[] draw() {
    List<TrainingText> drawn = texts.shuffled().nextBatch(batching.batch());
    if (drawn.size() < batching.batch()) {
      throw new LlaraException("the data ended before the run did");
    }
    int share = batching.batch() / batching.ranks();
    batch =
        drawn.subList(batching.rank() * share, (batching.rank() + 1) * share).stream()
            .map(text -> texts.prepare(text, formula.recipe()))
            .toList();
    return counts(batch).toArray();
  }

  private static LossTerms counts(List<Prepared> examples) {
    return examples.stream().map(Prepared::counts).reduce(LossTerms.ZERO, LossTerms::plus);
  }

  @Override
  public long position() {
    return texts.shuffled().position();
  }

  @Override
  public long tokens() {
    return batch.stream().mapToLong(example -> example.prompt().length()).sum();
  }

  @Override
  public double[] run(long step, double[] counts, GradientAccumulator gradients) {
    LossTerms scales = formula.scales(LossTerms.of(counts));
    LossTerms sums = LossTerms.ZERO;
    int first = 0;
    for (List<Prepared> part : Lists.partition(batch, batch.size() / batching.microBatches())) {
      List<Callable<LossTerms>> tasks = new ArrayList<>();
      for (List<Prepared> share : shares(part)) {
        int number = first++;
        tasks.add(() -> train(share, scales, gradients, number, step));
      }
      for (LossTerms some : lanes.run(tasks)) {
        sums = sums.plus(some);
      }
    }
    return sums.toArray();
  }

  private LossTerms train(
      List<Prepared> share,
      LossTerms scales,
      GradientAccumulator gradients,
      int number,
      long step) {
    long global = (long) batching.rank() * contributors() + number;
    dropout.start(Dropout.mix(Dropout.mix(batching.seed() + step) + global));
    try {
      LossTerms sums =
          share.isEmpty()
              ? LossTerms.ZERO
              : pass.train(share, scales, gradients.contributor(number));
      gradients.finished(number);
      return sums;
    } finally {
      dropout.stop();
    }
  }

  private List<List<Prepared>> shares(List<Prepared> examples) {
    return Lanes.deal(examples, example -> example.prompt().length(), lanes.count());
  }

  @Override
  public Map<String, Double> terms(double[] sums, double[] counts) {
    LossFormula.Values values = formula.values(LossTerms.of(sums), LossTerms.of(counts));
    Map<String, Double> terms = new LinkedHashMap<>();
    terms.put(LOSS, values.loss());
    put(terms, 1, values.tokens(), counts[0], formula.weights().token());
    put(terms, 2, values.self(), counts[1], formula.weights().self());
    put(terms, 3, values.next(), counts[2], formula.weights().next());
    return terms;
  }

  private static void put(
      Map<String, Double> terms, int index, double value, double count, double weight) {
    if (count > 0 && weight > 0) {
      terms.put(TERMS.get(index), value);
    }
  }

  @Override
  public String describeBatch() {
    return batch.stream()
        .map(example -> example.example().origin())
        .collect(Collectors.joining(", "));
  }

  @Override
  public Evaluation evaluation() {
    return new Evaluation() {
      @Override
      public boolean present() {
        return !heldOut.isEmpty();
      }

      @Override
      public double[] counts() {
        return AdaptationObjective.counts(heldOut).toArray();
      }

      @Override
      public double[] run() {
        LossTerms sums = LossTerms.ZERO;
        int atOnce = Math.max(1, batching.batch() / batching.ranks() / batching.microBatches());
        for (List<Prepared> part : Lists.partition(heldOut, atOnce)) {
          List<Callable<LossTerms>> tasks = new ArrayList<>();
          for (List<Prepared> share : shares(part)) {
            tasks.add(() -> share.isEmpty() ? LossTerms.ZERO : pass.evaluate(share));
          }
          for (LossTerms some : lanes.run(tasks)) {
            sums = sums.plus(some);
          }
        }
        return sums.toArray();
      }
    };
  }
}
