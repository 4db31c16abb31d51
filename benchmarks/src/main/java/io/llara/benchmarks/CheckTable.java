package io.llara.benchmarks;

import java.io.PrintStream;
import java.util.Locale;

/** Rows of a Markdown table: what was looked at, what was found, what is wanted. */
final class CheckTable {
  private final PrintStream out;
  private boolean holds = true;

  CheckTable(PrintStream out) {
    this.out = out;
  }

  /** Prints a value that has no limit. */
  void row(String what, String format, Object... values) {
    print(what, String.format(Locale.ROOT, format, values), "");
  }

  /** Prints a value that is to be at most a limit. */
  void atMost(String what, double value, double limit) {
    check(what, value, "at most " + number(limit), value <= limit);
  }

  /** Prints a value that is to be at least a limit. */
  void atLeast(String what, double value, double limit) {
    check(what, value, "at least " + number(limit), value >= limit);
  }

  /** Returns whether all values that have a limit keep it. */
  boolean allHold() {
    return holds;
  }

  /** Prints a value of which nothing is wanted but to know it. */
  void value(String what, double value) {
    print(what, number(value), "");
  }

  private void check(String what, double value, String wanted, boolean kept) {
    holds &= kept;
    print(what, number(value), wanted + (kept ? "" : ": **not kept**"));
  }

  private void print(String what, String found, String wanted) {
    out.printf(Locale.ROOT, "| %s | %s | %s |%n", what, found, wanted);
    out.flush();
  }

  private static String number(double value) {
    return String.format(
        Locale.ROOT, value != 0 && Math.abs(value) < 0.01 ? "%.1e" : "%.3f", value);
  }
}
