package io.llara;

import java.time.Duration;

/** Receives what encoding took, for metrics. */
@FunctionalInterface
public interface EncoderListener {

  /**
   * Takes what was encoded together: one text, the prompts of one call, or, in {@link
   * Encoder#encodeAll(java.util.stream.Stream, Mode, EmbeddingSink)}, one group of some thousands
   * of texts. Called on the thread that called the encoder, for asynchronous calls on a thread of
   * the common pool; an exception ends the call. What fails is not reported.
   */
  void encoded(Event event);

  /**
   * One report. The three durations follow one another.
   *
   * @param texts the number of texts or prompts
   * @param tokens the tokens that ran through the model, prompts included
   * @param truncatedTexts texts that were cut because they did not fit
   * @param tokenize the time spent making the prompts; zero for given prompts
   * @param queue the wait until a lane took the first of them
   * @param compute from then until the last was done, with what else ran meanwhile
   */
  record Event(
      int texts,
      long tokens,
      int truncatedTexts,
      Duration tokenize,
      Duration queue,
      Duration compute) {}
}
