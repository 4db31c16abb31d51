package io.llara.train.data;

import io.llara.io.LineReader;
import java.util.List;
import java.util.function.Consumer;
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
  Line<T> read(LineReader line);

  /** Returns what messages call an example. */
  String noun();

  /** Returns why lines gave no example. */
  default String shortBecause() {
    return "too short";
  }

  /** Returns the same with a check of each example, which throws as {@link #read}. */
  default LineFormat<T> checked(Consumer<T> check) {
    LineFormat<T> unchecked = this;
    return new LineFormat<>() {
      @Override
      public Line<T> read(LineReader line) {
        Line<T> read = unchecked.read(line);
        return new Line<>(
            read.splitKey(),
            () -> {
              List<T> examples = read.examples().get();
              examples.forEach(check);
              return examples;
            });
      }

      @Override
      public String noun() {
        return unchecked.noun();
      }

      @Override
      public String shortBecause() {
        return unchecked.shortBecause();
      }
    };
  }
}
