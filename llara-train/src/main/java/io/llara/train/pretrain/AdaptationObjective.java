package io.llara.train.pretrain;

import com.google.common.collect.Lists;
import com.google.common.primitives.Ints;
import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.GradientSink;
import io.llara.train.distributed.Lanes;
import io.llara.train.lora.Dropout;
import io.llara.train.model.HeadGradient;
import io.llara.train.model.TrainedModel;
import io.llara.train.run.Objective;
import io.llara.train.run.Workers;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * The loss of adaptation: joint prompts packed without padding, the text's next tokens and both
 * embeddings' bags predicted from the same hidden states. A process's share of a batch is cut by
 * micro-batches, and a micro-batch by lanes, always in the same way.
 */
final class AdaptationObjective implements Objective<TextExample> {
  /** The next-token term. */
  static final int TOKENS = 0;

  /** The term of the SELF embedding. */
  static final int SELF = 1;

  /** The term of the NEXT embedding. */
  static final int NEXT = 2;

  private static final List<String> NAMES = List.of("loss", "ar_loss", "self_loss", "next_loss");

  private final TrainedModel model;
  private final VocabularyProjection projection;
  private final Recipe recipe;
  private final LossWeights weights;
  private final Passes passes;
  private final Lanes lanes;
  private final int rank;

  /**
   * How a batch is run.
   *
   * @param layout who may see whom
   * @param microBatches parts that a process runs one after another
   * @param recompute whether layers are run again in the backward pass
   */
  record Passes(Layout layout, int microBatches, boolean recompute) {}

  /**
   * Makes an objective.
   *
   * @param model with a head; it stays the caller's
   */
  AdaptationObjective(
      TrainedModel model, Recipe recipe, LossWeights weights, Passes passes, Workers workers) {
    this.model = model;
    this.projection = new VocabularyProjection(model.head());
    this.recipe = recipe;
    this.weights = weights;
    this.passes = passes;
    this.lanes = workers.lanes();
    this.rank = workers.communicator().rank();
  }

  @Override
  public List<String> termNames() {
    return NAMES;
  }

  @Override
  public double[] counts(List<TextExample> examples) {
    double[] counts = new double[3];
    for (TextExample example : examples) {
      counts[TOKENS] += example.labelledTokens();
      counts[SELF] += example.self().isEmpty() ? 0 : 1;
      counts[NEXT] += example.next().isEmpty() ? 0 : 1;
    }
    return counts;
  }

  @Override
  public int contributors(List<TextExample> batch) {
    return passes.microBatches() * lanes.count();
  }

  @Override
  public double[] train(
      List<TextExample> batch, double[] counts, long key, GradientAccumulator gradients) {
    double[] scales = scales(recipe, weights, counts);
    List<double[]> sums = new ArrayList<>();
    for (List<TextExample> part : Lists.partition(batch, batch.size() / passes.microBatches())) {
      int first = sums.size();
      sums.addAll(
          lanes.map(
              shares(part),
              (share, lane) -> {
                int number = first + lane;
                model
                    .dropout()
                    .start(Dropout.mix(key + (long) rank * contributors(batch) + number));
                try {
                  double[] ofShare =
                      share.isEmpty()
                          ? new double[3]
                          : differentiate(share, scales, gradients.contributor(number));
                  gradients.finished(number);
                  return ofShare;
                } finally {
                  model.dropout().stop();
                }
              }));
    }
    return sum(sums);
  }

  /**
   * Runs examples forward and backward.
   *
   * @param scales the derivative of the loss by each sum
   * @return the sum of each term
   */
  private double[] differentiate(List<TextExample> examples, double[] scales, GradientSink sink) {
    double[] sums = new double[3];
    Rows rows = new Rows(examples);
    if (!rows.isEmpty()) {
      model.differentiate(
          rows.mask,
          rows.all(),
          passes.recompute(),
          (hidden, head) -> {
            Tensor gradient = torch.zeros_like(hidden);
            for (int i = 0; i < sums.length; i++) {
              sums[i] = rows.terms.get(i).loss(hidden, scales[i], head, gradient);
            }
            return gradient;
          },
          sink);
    }
    return sums;
  }

  @Override
  public double[] evaluate(List<List<TextExample>> batches) {
    List<double[]> sums = new ArrayList<>();
    for (List<TextExample> batch : batches) {
      sums.addAll(
          lanes.map(
              shares(batch), (share, lane) -> share.isEmpty() ? new double[3] : losses(share)));
    }
    return sum(sums);
  }

  /** Runs examples forward and returns the sum of each term. */
  private double[] losses(List<TextExample> examples) {
    Rows rows = new Rows(examples);
    if (rows.isEmpty()) {
      return new double[3];
    }
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor hidden = model.forward(rows.mask, rows.all());
      return rows.terms.stream().mapToDouble(term -> term.loss(hidden)).toArray();
    }
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
  public Map<String, Double> terms(double[] sums, double[] counts) {
    return terms(recipe, weights, sums, counts);
  }

  /**
   * Returns the derivative of the loss by the sum of each term: what one token's or bag's loss adds
   * to the whole.
   */
  static double[] scales(Recipe recipe, LossWeights weights, double[] counts) {
    double share = share(recipe, weights, counts) / recipe.divisor();
    return new double[] {
      per(counts[TOKENS], weights.token()),
      per(counts[SELF], weights.self() * share),
      per(counts[NEXT], weights.next() * share)
    };
  }

  private static double per(double count, double weight) {
    return count == 0 ? 0 : weight / count;
  }

  /** Returns the loss and its terms by name, see {@link Objective#terms}. */
  static Map<String, Double> terms(
      Recipe recipe, LossWeights weights, double[] sums, double[] counts) {
    double[] values = {
      sums[TOKENS] / counts[TOKENS],
      sums[SELF] / counts[SELF] / recipe.divisor(),
      sums[NEXT] / counts[NEXT] / recipe.divisor()
    };
    double[] weighted = new double[values.length];
    Map<String, Double> terms = new LinkedHashMap<>();
    terms.put(NAMES.get(0), 0.0); // The first in order.
    for (int term = 0; term < values.length; term++) {
      if (isPresent(term, weights, counts)) {
        weighted[term] = weight(term, weights) * values[term];
        terms.put(NAMES.get(term + 1), values[term]);
      }
    }
    terms.put(
        NAMES.get(0),
        weighted[TOKENS] + share(recipe, weights, counts) * (weighted[SELF] + weighted[NEXT]));
    return terms;
  }

  /** Half the sum of both embedding terms, or all of the one that is there. */
  private static double share(Recipe recipe, LossWeights weights, double[] counts) {
    return recipe == Recipe.RELEASED
            && isPresent(SELF, weights, counts)
            && isPresent(NEXT, weights, counts)
        ? 0.5
        : 1;
  }

  private static boolean isPresent(int term, LossWeights weights, double[] counts) {
    return counts[term] > 0 && weight(term, weights) > 0;
  }

  private static double weight(int term, LossWeights weights) {
    return switch (term) {
      case TOKENS -> weights.token();
      case SELF -> weights.self();
      default -> weights.next();
    };
  }

  /** The rows of a packed batch that losses read. */
  private final class Rows {
    final AttentionMask mask;
    private final Term tokens = new Term();
    private final Term self = new Term();
    private final Term next = new Term();

    /** In their order. */
    final List<Term> terms = List.of(tokens, self, next);

    private final List<Integer> all = new ArrayList<>();

    Rows(List<TextExample> examples) {
      mask =
          AttentionMaskFactory.create(
              examples.stream().map(TextExample::prompt).toList(), passes.layout());
      for (int i = 0; i < examples.size(); i++) {
        TextExample example = examples.get(i);
        if (weights.token() > 0) {
          addTokens(example, mask.tokens(i).begin());
        }
        if (weights.self() > 0) {
          self.add(mask.pooled(i, Mode.SELF), example.self());
        }
        if (weights.next() > 0) {
          next.add(mask.pooled(i, Mode.NEXT), example.next());
        }
      }
    }

    /** Each token is predicted by the row before it. */
    private void addTokens(TextExample example, int begin) {
      Prompt prompt = example.prompt();
      int[] ids = prompt.ids();
      for (int i = prompt.textEnd() - example.labelledTokens(); i < prompt.textEnd(); i++) {
        tokens.add(new TokenRange(begin + i - 1, begin + i), Bag.of(ids[i]));
      }
    }

    boolean isEmpty() {
      return all.isEmpty();
    }

    /** Returns all rows that are read, ascending. */
    int[] all() {
      return Ints.toArray(all);
    }

    /** The rows of one term, by their places among all, and what they must predict. */
    final class Term {
      private final List<Integer> places = new ArrayList<>();
      private final List<Bag> bags = new ArrayList<>();

      void add(TokenRange rows, Bag bag) {
        if (!bag.isEmpty()) {
          for (int row = rows.begin(); row < rows.end(); row++) {
            places.add(all.size());
            all.add(row);
          }
          bags.add(bag);
        }
      }

      /** Computes the sum alone. */
      double loss(Tensor hidden) {
        return bags.isEmpty()
            ? 0
            : projection.loss(Tensors.rows(hidden, index(hidden)), rowsEach(), bags);
      }

      /**
       * Computes the sum and its gradient.
       *
       * @param hidden {@code [all rows, hidden]}
       * @param gradient takes the gradient by {@code hidden} at this term's rows
       */
      double loss(Tensor hidden, double scale, HeadGradient head, Tensor gradient) {
        if (bags.isEmpty()) {
          return 0;
        }
        VocabularyProjection.Loss loss =
            projection.loss(Tensors.rows(hidden, index(hidden)), rowsEach(), bags, scale, head);
        gradient.index_copy_(0, index(hidden), loss.hiddenGradient());
        return loss.sum();
      }

      private Tensor index(Tensor hidden) {
        return Tensors.ofInts(Ints.toArray(places), hidden);
      }

      private int rowsEach() {
        return places.size() / bags.size();
      }
    }
  }
}
