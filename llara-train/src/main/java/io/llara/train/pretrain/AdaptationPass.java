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
import io.llara.train.lora.Dropout;
import io.llara.train.model.HeadGradient;
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

  /** Returns the source of dropout of the model. */
  Dropout dropout() {
    return model.dropout();
  }

  /**
   * Runs examples forward and backward.
   *
   * @param scales the derivative of the loss by each sum
   * @param sink takes the gradients, layer by layer from the last, the embedding's at the end
   * @return the sum of each term
   */
  double[] train(List<TextExample> examples, double[] scales, GradientSink sink) {
    Rows rows = new Rows(examples);
    double[] sums = new double[rows.terms.size()];
    if (!rows.isEmpty()) {
      model.differentiate(
          rows.mask,
          rows.all(),
          recompute,
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

  /** Runs examples forward and returns the sum of each term. */
  double[] evaluate(List<TextExample> examples) {
    Rows rows = new Rows(examples);
    if (rows.isEmpty()) {
      return new double[rows.terms.size()];
    }
    try (NoGradGuard noGrad = new NoGradGuard();
        TensorScope scope = new TensorScope()) {
      Tensor hidden = model.forward(rows.mask, rows.all());
      return rows.terms.stream().mapToDouble(term -> term.loss(hidden)).toArray();
    }
  }

  /**
   * Runs prompts forward and returns the hidden states of all tokens after the final norm, {@code
   * [tokens of all prompts, hidden]}, in the caller's scope.
   */
  Tensor hiddenStates(List<Prompt> prompts) {
    AttentionMask mask = AttentionMaskFactory.create(prompts, layout);
    return model.forward(mask, IntStream.range(0, mask.rows()).toArray());
  }

  /** The rows of a packed batch that losses read. */
  private final class Rows {
    final AttentionMask mask;
    private final Term tokens = new Term();
    private final Term self = new Term();
    private final Term next = new Term();

    /** In the order of {@link LossFormula}. */
    final List<Term> terms = List.of(tokens, self, next);

    private final List<Integer> all = new ArrayList<>();

    Rows(List<TextExample> examples) {
      mask =
          AttentionMaskFactory.create(examples.stream().map(TextExample::prompt).toList(), layout);
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
            : projection.loss(hidden.index_select(0, index()), rowsEach(), bags);
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
        Loss loss = projection.loss(hidden.index_select(0, index()), rowsEach(), bags, scale, head);
        gradient.index_copy_(0, index(), loss.hiddenGradient());
        return loss.sum();
      }

      private Tensor index() {
        return Tensors.ofInts(Ints.toArray(places));
      }

      private int rowsEach() {
        return places.size() / bags.size();
      }
    }
  }
}
