package io.llara.train.contrastive;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.TextModes;
import io.llara.TokenizationException;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.Reserve;
import io.llara.train.data.TrainingPair;

/**
 * Turns queries and passages into prompts and cuts them to length.
 *
 * <p>It cuts as the released code does (FlagEmbedding, {@code research/LLARA/finetune/data.py}): a
 * text loses ids at its end until prefix, text and the suffix of its <em>own</em> mode have at most
 * as many ids as its kind may have.
 *
 * <p>Immutable and thread-safe. It uses the builder's tokenizer and does not close it.
 *
 * @param prompts makes the prompts; what it {@linkplain Reserve reserves} does not matter
 * @param modes which prompts queries and passages get
 * @param queryMaxTokens the most ids in the prompt of a query
 * @param passageMaxTokens the most ids in the prompt of a passage
 */
public record PairCollator(
    PromptBuilder prompts, TextModes modes, int queryMaxTokens, int passageMaxTokens) {

  /**
   * Checks the lengths.
   *
   * @throws IllegalArgumentException if one of them leaves no room for a text
   */
  public PairCollator {
    prompts = prompts.withReserve(Reserve.OWN_SUFFIX);
    requireRoom(prompts, "queryMaxTokens", queryMaxTokens, modes.query());
    requireRoom(prompts, "passageMaxTokens", passageMaxTokens, modes.passage());
  }

  private static void requireRoom(PromptBuilder prompts, String name, int maxTokens, Mode mode) {
    int least = prompts.minimumTokens(mode);
    if (maxTokens < least) {
      throw new IllegalArgumentException(
          "%s is %d, which leaves no room for a text in mode %s; it must be at least %d"
              .formatted(name, maxTokens, mode, least));
    }
  }

  /**
   * Returns the prompts of a query and of its passages, positives first, with what a teacher says.
   *
   * @throws LlaraException if a text cannot be tokenised or gives no token; names where it was read
   * @throws IllegalStateException if the builder has no tokenizer, or it is closed
   */
  PairExample example(TrainingPair pair, SoftTargets teacher) {
    try {
      return new PairExample(
          prompts.build(pair.query(), modes.query(), queryMaxTokens),
          pair.passages().stream()
              .map(passage -> prompts.build(passage, modes.passage(), passageMaxTokens))
              .toList(),
          teacher,
          pair.origin());
    } catch (TokenizationException e) {
      throw new TokenizationException(pair.origin() + ": " + e.getMessage(), e);
    } catch (IllegalArgumentException e) {
      // Room there is; what is left is a text without a token.
      throw new LlaraException(pair.origin() + ": " + e.getMessage(), e);
    }
  }

  /**
   * Returns the prompt of a query given as ids, cut as this class cuts.
   *
   * @throws IllegalArgumentException if there is no id, or one is negative
   */
  public Prompt query(int[] textIds) {
    return prompts.fromIds(textIds, modes.query(), queryMaxTokens);
  }

  /**
   * Returns the prompt of a passage given as ids, cut as this class cuts.
   *
   * @throws IllegalArgumentException if there is no id, or one is negative
   */
  public Prompt passage(int[] textIds) {
    return prompts.fromIds(textIds, modes.passage(), passageMaxTokens);
  }
}
