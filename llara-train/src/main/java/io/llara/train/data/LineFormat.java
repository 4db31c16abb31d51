package io.llara.train.data;

import io.llara.io.JsonSection;
import java.util.List;
import java.util.function.Supplier;

/**
 * How a line of a dataset becomes examples. Immutable and thread-safe.
 *
 * @param <T> the examples
 */
interface LineFormat<T> {
  /**
   * A line that was read.
   *
   * @param splitKey what decides, by its hash, whether the line is held out
   * @param examples makes the examples, none if the line is too short for one; throws as {@link
   *     #read}
   */
  record Line<T>(String splitKey, Supplier<List<T>> examples) {}

  /**
   * Reads a line.
   *
   * @throws io.llara.LlaraException if it cannot be used; names it
   */
  Line<T> read(JsonSection json);

  /** Returns what messages call an example. */
  String noun();

  /** Returns why lines gave no example. */
  default String shortBecause() {
    return "too short";
  }
}
