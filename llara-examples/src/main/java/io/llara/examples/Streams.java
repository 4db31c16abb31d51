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

  /** Tells the user something that is no result. */
  void note(String message) {
    err.println("llara: " + message);
  }
}
