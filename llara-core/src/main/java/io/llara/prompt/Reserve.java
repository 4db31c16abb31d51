package io.llara.prompt;

/**
 * How many tokens a cut keeps free behind the text.
 *
 * <p>A text longer than {@code maxTokens − prefix − reserved} loses ids at its end; prefix and
 * suffix are never cut.
 */
public enum Reserve {
  /**
   * The longer of the two suffixes, whatever the mode. One text then keeps the same ids in SELF,
   * NEXT and joint prompts; positions stay below {@code maxTokens} in all three, for NEXT's restart
   * after the text. What an encoder does.
   */
  LONGER_SUFFIX,
  /**
   * The sum of both suffixes, whatever the mode. What the reference does when it makes joint
   * prompts for pretraining.
   */
  BOTH_SUFFIXES,
  /**
   * The suffixes that the prompt has: its own for SELF or NEXT, both for a joint prompt. What the
   * reference does in contrastive training.
   */
  OWN_SUFFIX
}
