package io.llara.prompt;

import java.util.stream.IntStream;

/**
 * Consecutive tokens of a prompt, or rows of a batch: from {@code begin} to before {@code end}.
 *
 * @param begin the first
 * @param end one past the last; equal to {@code begin} when the range is empty
 */
public record TokenRange(int begin, int end) {
  /** Checks the bounds. */
  public TokenRange {
    if (begin < 0 || end < begin) {
      throw new IllegalArgumentException(
          "a range needs 0 <= begin <= end, not [" + begin + ", " + end + ")");
    }
  }

  /** Returns {@code begin} and all between it and {@code end}. */
  public IntStream stream() {
    return IntStream.range(begin, end);
  }

  /** Returns the number of tokens. */
  public int length() {
    return end - begin;
  }

  /** Returns whether there is no token in it. */
  public boolean isEmpty() {
    return begin == end;
  }
}
