package io.llara.train.pretrain;

import com.google.common.primitives.Ints;
import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import io.llara.prompt.TokenRange;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientSink;
import io.llara.train.model.EmbeddingGradient;
import io.llara.train.model.TrainedModel;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * One forward pass of adaptation, and its backward pass: joint prompts packed without padding, the
 * text's next tokens and both embeddings' bags predicted from the same hidden states.
 *
 * <p>Thread-safe: several lanes may run passes at once.
 */
final class AdaptationPass {
  private final TrainedModel model;
  private final VocabularyProjection projection;
  private final LossWeights weights;
  private final Layout layout;
  private final boolean recompute;

  AdaptationPass(
      TrainedModel model,
      VocabularyProjection projection,
      LossWeights weights,
      Layout layout,
      boolean recompute) {
    this.model = model;
    this.projection = projection;
    this.weights = weights;
    this.layout = layout;
    this.recompute = recompute;
  }

  /**
   * Runs examples forward and backward.
   *
   * @param scales the derivatives of the loss by the sums
   * @param sink takes the gradients, layer by layer from the last, the embedding's at the end
   * @return the sums
   */
  LossTerms train(List<Prepared> examples, LossTerms scales, GradientSink sink) {
    Rows rows = new Rows(examples);
    if (rows.all().length == 0) {
      return LossTerms.ZERO;
    }
    LossTerms[] sums = new LossTerms[1];
    model.differentiate(
        rows.mask,
        rows.all(),
        recompute,
        (hidden, tokens) -> {
          Tensor gradient = torch.zeros_like(hidden);
          sums[0] = rows.losses(hidden, scales, headGradient(tokens), gradient);
          return gradient;
        },
        sink);
    return sums[0];
  }

  /** Runs examples forward and returns the sums. */
  LossTerms evaluate(List<Prepared> examples) {
    Rows rows = new Rows(examples);
    if (rows.all().length == 0) {
      return LossTerms.ZERO;
    }
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      return rows.losses(model.model().forward(rows.mask, rows.all(), () -> {}));
    }
  }

  /**
   * Runs prompts forward and returns the hidden states of all tokens after the final norm, {@code
   * [tokens of all prompts, hidden]}, in the caller's scope.
   */
  Tensor hiddenStates(List<Prompt> prompts) {
    AttentionMask mask = AttentionMaskFactory.create(prompts, layout);
    return model.model().forward(mask, mask.queryRowsAsKeys(), () -> {});
  }

  private static HeadGradient headGradient(EmbeddingGradient tokens) {
    return tokens
        .headSum()
        .map(
            sum ->
                tokens
                    .headRows()
                    .map(ids -> HeadGradient.rows(ids, sum))
                    .orElseGet(() -> HeadGradient.full(sum)))
        .orElseGet(HeadGradient::none);
  }

  /** The rows of a packed batch that losses read, and what they must predict. */
  private final class Rows {
    final AttentionMask mask;
    private final List<Integer> all = new ArrayList<>();
    private final Group tokens = new Group();
    private final Group self = new Group();
    private final Group next = new Group();
    private final List<Integer> targets = new ArrayList<>();
    private final List<Bag> selfBags = new ArrayList<>();
    private final List<Bag> nextBags = new ArrayList<>();

    /** Places in {@link #all} that one term reads. */
    private final class Group {
      final List<Integer> places = new ArrayList<>();

      void add(int row) {
        places.add(all.size());
        all.add(row);
      }

      Tensor of(Tensor hidden) {
        return hidden.index_select(0, Tensors.ofInts(Ints.toArray(places)));
      }

      double put(Loss loss, Tensor gradient) {
        gradient.index_copy_(0, Tensors.ofInts(Ints.toArray(places)), loss.hiddenGradient());
        return loss.sum();
      }
    }

    Rows(List<Prepared> examples) {
      List<Prompt> prompts = examples.stream().map(Prepared::prompt).toList();
      mask = AttentionMaskFactory.create(prompts, layout);
      for (int i = 0; i < examples.size(); i++) {
        Prepared example = examples.get(i);
        if (weights.token() > 0) {
          addTokens(example, mask.tokens(i).begin());
        }
        if (weights.self() > 0) {
          addBag(example.self(), mask.pooled(i, Mode.SELF), self, selfBags);
        }
        if (weights.next() > 0) {
          addBag(example.next(), mask.pooled(i, Mode.NEXT), next, nextBags);
        }
      }
    }

    private void addTokens(Prepared example, int begin) {
      Prompt prompt = example.prompt();
      int[] ids = prompt.ids();
      for (int i = prompt.textEnd() - example.labelledTokens(); i < prompt.textEnd(); i++) {
        tokens.add(begin + i - 1);
        targets.add(ids[i]);
      }
    }

    private void addBag(Bag bag, TokenRange markers, Group group, List<Bag> bags) {
      if (!bag.isEmpty()) {
        IntStream.range(markers.begin(), markers.end()).forEach(group::add);
        bags.add(bag);
      }
    }

    /** All rows that are read, ascending. */
    int[] all() {
      return Ints.toArray(all);
    }

    /** Computes the sums alone. */
    LossTerms losses(Tensor hidden) {
      return new LossTerms(
          targets.isEmpty()
              ? 0
              : projection.nextTokenLoss(tokens.of(hidden), Ints.toArray(targets)),
          selfBags.isEmpty()
              ? 0
              : projection.bagsLoss(self.of(hidden), markers(self, selfBags), selfBags),
          nextBags.isEmpty()
              ? 0
              : projection.bagsLoss(next.of(hidden), markers(next, nextBags), nextBags));
    }

    /**
     * Computes the sums and what they ask of the hidden states.
     *
     * @param hidden {@code [all rows, hidden]}
     * @param gradient where the gradient of {@code hidden} goes; zero so far
     */
    LossTerms losses(Tensor hidden, LossTerms scales, HeadGradient head, Tensor gradient) {
      return new LossTerms(
          targets.isEmpty()
              ? 0
              : tokens.put(
                  projection.nextToken(
                      tokens.of(hidden), Ints.toArray(targets), scales.tokens(), head),
                  gradient),
          bags(self, selfBags, hidden, scales.self(), head, gradient),
          bags(next, nextBags, hidden, scales.next(), head, gradient));
    }

    private double bags(
        Group group,
        List<Bag> bags,
        Tensor hidden,
        double scale,
        HeadGradient head,
        Tensor gradient) {
      return bags.isEmpty()
          ? 0
          : group.put(
              projection.bags(group.of(hidden), markers(group, bags), bags, scale, head), gradient);
    }

    private int markers(Group group, List<Bag> bags) {
      return group.places.size() / bags.size();
    }
  }
}
