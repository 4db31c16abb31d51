package io.llara.train.data;

import com.google.common.primitives.ImmutableIntArray;
import io.llara.prompt.Prompt;

/**
 * One training text as token ids. Made by {@link Collator}. Immutable and thread-safe.
 *
 * <p>The ids of the text itself are {@code prompt().textIds()}, after any cut: these, and no others
 * of the prompt, are what the next-token loss is about.
 */
public final class Example {
  private final Prompt prompt;
  private final ImmutableIntArray selfTargets;
  private final ImmutableIntArray nextTargets;
  private final String origin;

  Example(
      Prompt prompt, ImmutableIntArray selfTargets, ImmutableIntArray nextTargets, String origin) {
    this.prompt = prompt;
    this.selfTargets = selfTargets;
    this.nextTargets = nextTargets;
    this.origin = origin;
  }

  /** Returns the prompt: a joint one, or for language modelling a plain one. */
  public Prompt prompt() {
    return prompt;
  }

  /**
   * Returns the ids that the SELF embedding must predict, as they come out of the tokenizer: BOS,
   * if there is one, then the words, in order and with repetitions. Empty for a plain prompt.
   */
  public int[] selfTargets() {
    return selfTargets.toArray();
  }

  /** Returns the ids that the NEXT embedding must predict, as {@link #selfTargets}. */
  public int[] nextTargets() {
    return nextTargets.toArray();
  }

  /** Returns where the text was read, for messages. */
  public String origin() {
    return origin;
  }

  @Override
  public String toString() {
    return origin + ": " + prompt;
  }
}
