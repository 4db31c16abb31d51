package io.llara.examples;

import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;

/**
 * What a command reads and writes.
 *
 * @param in what {@code -} stands for
 * @param out results, and nothing else
 * @param err everything else
 * @param terminal whether {@code err} is a terminal, where a progress bar makes sense
 */
record Streams(InputStream in, OutputStream out, PrintStream err, boolean terminal) {

  /** Prints the one line that is a command's result. */
  void result(String line) {
    try (Results results = new Results(out)) {
      results.line(line);
    }
  }

  /** Tells the user something that is not a result. */
  void note(String message) {
    err.println("llara: " + message);
  }
}
