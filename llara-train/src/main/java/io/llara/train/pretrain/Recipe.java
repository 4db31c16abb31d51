package io.llara.train.pretrain;

import io.llara.prompt.PromptTemplate;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What a model is trained to do: the prompts, the targets of the two embeddings, and how the terms
 * make up the loss. Below, {@code z} are the logits of an embedding, {@code z = W e}.
 */
public enum Recipe {
  /**
   * The released code of LLaRA / Llama2Vec. {@code z} is the largest logit of the eight markers,
   * token by token; a term is {@code −mean log softmax(z)} over the <em>set</em> of target tokens
   * with ids above 2, averaged over the examples that have any, divided by 10. The loss is {@code
   * ar_loss + (self_loss + next_loss) / 2}, or {@code ar_loss} plus the one term that is there; the
   * reported {@code self_loss} and {@code next_loss} carry the division by 10. {@code ar_loss} is
   * the mean cross-entropy of the text's own next tokens.
   */
  RELEASED(PromptTemplate.LLAMA2VEC, 10),

  /**
   * The paper (arXiv 2312.15503v1, section 3.2): one embedding, at {@code </s>}; a term is {@code
   * −mean log softmax(z)} over all tokens of the text (SELF) or of the next text (NEXT), repeated
   * ones as often as they occur, averaged over the examples. The loss is {@code self_loss +
   * next_loss}; nothing is divided by 10. The paper has no next-token term; it is weighed with 0
   * and not computed unless a weight is given.
   */
  PAPER(PromptTemplate.PAPER, 1),

  /** Plain language modelling: the next-token term alone, for making a base model. */
  LM(null, 1);

  private final Optional<PromptTemplate> template;
  private final double divisor;

  Recipe(@Nullable PromptTemplate template, double divisor) {
    this.template = Optional.ofNullable(template);
    this.divisor = divisor;
  }

  /** Returns the prompts of the recipe; {@link #LM} has none. */
  public Optional<PromptTemplate> template() {
    return template;
  }

  /** Returns what the reported embedding terms are divided by. */
  public double divisor() {
    return divisor;
  }

  /** Returns whether stop words and punctuation are left out of the targets by default. */
  public boolean stripsTargets() {
    return this == RELEASED;
  }

  /** Returns the default weights of the terms. */
  public LossWeights weights() {
    return switch (this) {
      case RELEASED -> new LossWeights(1, 1, 1);
      case PAPER -> new LossWeights(0, 1, 1);
      case LM -> new LossWeights(1, 0, 0);
    };
  }

  /**
   * Makes the bag of an embedding's target tokens.
   *
   * @param bosTokens how many tokens at the beginning are not the text's
   */
  Bag bag(int[] targets, int bosTokens) {
    return this == PAPER
        ? Bag.ofTokens(
            Arrays.copyOfRange(targets, Math.min(bosTokens, targets.length), targets.length))
        : Bag.ofSet(targets);
  }

  /**
   * Returns the name of the recipe in commands and files: {@code released}, {@code paper}, {@code
   * lm}.
   */
  public String spelled() {
    return name().toLowerCase(Locale.ROOT);
  }
}
