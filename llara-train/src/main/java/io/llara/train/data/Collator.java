package io.llara.train.data;

import com.google.common.primitives.ImmutableIntArray;
import io.llara.LlaraException;
import io.llara.TokenizationException;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.Reserve;
import io.llara.tokenize.Tokenizer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Turns training texts into token ids and cuts them to length.
 *
 * <p>It cuts as the released code does (FlagEmbedding, {@code research/LLARA/pretrain/data.py}): of
 * a joint prompt the text loses ids at its end until prefix, text and <em>both</em> suffixes have
 * at most {@code maxTokens} ids, and each target keeps its first {@code maxTokens} ids, BOS
 * included.
 *
 * <p>Immutable and thread-safe. It uses the tokenizer and does not close it.
 */
public final class Collator {
  private final @Nullable PromptBuilder builder;
  private final Tokenizer tokenizer;
  private final ImmutableIntArray bosIds;
  private final int maxTokens;

  private Collator(@Nullable PromptBuilder builder, Tokenizer tokenizer, int maxTokens) {
    this.builder = builder;
    this.tokenizer = tokenizer;
    this.bosIds = ImmutableIntArray.copyOf(tokenizer.bosIds());
    this.maxTokens = maxTokens;
  }

  /**
   * Returns a collator that makes joint prompts, with targets.
   *
   * @param builder makes the prompts; what it {@linkplain Reserve reserves} does not matter
   * @param tokenizer the tokenizer of texts and targets
   * @param maxTokens the most ids in a prompt, and in a target
   * @throws IllegalArgumentException if the builder's modes cannot be joined, or {@code maxTokens}
   *     leaves no room for a text
   */
  public static Collator joint(PromptBuilder builder, Tokenizer tokenizer, int maxTokens) {
    if (!builder.canJoin()) {
      throw new IllegalArgumentException(
          "this prompt template has no joint prompt: both modes need a suffix, and the same prefix");
    }
    PromptBuilder joint = builder.withReserve(Reserve.BOTH_SUFFIXES);
    requireRoom(maxTokens, joint.minimumTokens());
    return new Collator(joint, tokenizer, maxTokens);
  }

  /**
   * Returns a collator that makes plain sequences for language modelling: BOS, if there is one, and
   * the text. There is no EOS: a passage is a piece of a document, and what follows it goes on.
   *
   * @param tokenizer the tokenizer of the texts
   * @param maxTokens the most ids in a sequence; the text is cut at its end
   * @throws IllegalArgumentException if {@code maxTokens} leaves no room for a text
   */
  public static Collator plain(Tokenizer tokenizer, int maxTokens) {
    requireRoom(maxTokens, tokenizer.bosIds().length + 1);
    return new Collator(null, tokenizer, maxTokens);
  }

  private static void requireRoom(int maxTokens, int least) {
    if (maxTokens < least) {
      throw new IllegalArgumentException(
          "maxTokens is %d, which leaves no room for a text; it must be at least %d"
              .formatted(maxTokens, least));
    }
  }

  /**
   * Returns the ids of a text and of its targets.
   *
   * @throws LlaraException if the text or a target cannot be tokenised, or the text gives no token;
   *     names where it was read
   * @throws IllegalStateException if the tokenizer is closed
   */
  public Example example(TrainingText text) {
    int[] textIds = encode(text.text(), text);
    if (textIds.length == 0) {
      throw new LlaraException(text.origin() + ": the tokenizer makes no token of the text");
    }
    if (builder == null) {
      Prompt prompt = Prompt.plain(cut(bosIds, textIds, maxTokens).toArray());
      return new Example(prompt, ImmutableIntArray.of(), ImmutableIntArray.of(), text.origin());
    }
    // Targets that are not stripped are the text itself.
    int[] selfIds =
        text.selfTarget().equals(text.text()) ? textIds : encode(text.selfTarget(), text);
    return new Example(
        builder.jointFromIds(textIds, maxTokens),
        cut(bosIds, selfIds, maxTokens),
        cut(bosIds, encode(text.nextTarget(), text), maxTokens),
        text.origin());
  }

  private int[] encode(String words, TrainingText text) {
    try {
      return tokenizer.encodeText(words);
    } catch (TokenizationException e) {
      throw new TokenizationException(text.origin() + ": " + e.getMessage(), e);
    }
  }

  /**
   * Returns the joint example of given ids, cut as this class cuts.
   *
   * @param builder makes the prompt; what it {@linkplain Reserve reserves} does not matter
   * @param textIds the ids of the text, without BOS; at least one
   * @param selfTargets the ids that SELF must predict, BOS among them; may be empty
   * @param nextTargets the ids that NEXT must predict, BOS among them; may be empty
   * @param maxTokens the most ids in the prompt, and in a target
   * @throws IllegalArgumentException if there is no text id, an id is negative, or {@code
   *     maxTokens} leaves no room for a text
   * @throws IllegalStateException if the builder's modes cannot be joined
   */
  public static Example fromIds(
      PromptBuilder builder, int[] textIds, int[] selfTargets, int[] nextTargets, int maxTokens) {
    for (int[] ids : new int[][] {selfTargets, nextTargets}) {
      if (Arrays.stream(ids).anyMatch(id -> id < 0)) {
        throw new IllegalArgumentException("a target id is negative: " + Arrays.toString(ids));
      }
    }
    ImmutableIntArray none = ImmutableIntArray.of();
    return new Example(
        builder.withReserve(Reserve.BOTH_SUFFIXES).jointFromIds(textIds, maxTokens),
        cut(none, selfTargets, maxTokens),
        cut(none, nextTargets, maxTokens),
        "given ids");
  }

  private static ImmutableIntArray cut(ImmutableIntArray bosIds, int[] ids, int maxTokens) {
    ImmutableIntArray all = ImmutableIntArray.builder().addAll(bosIds).addAll(ids).build();
    return all.length() <= maxTokens ? all : all.subArray(0, maxTokens).trimmed();
  }
}
