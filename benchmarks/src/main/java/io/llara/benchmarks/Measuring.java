package io.llara.benchmarks;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * How two sides are measured in turn, and what: {@code [--rounds N] [--seconds S] [--lanes N] WORK
 * …}.
 *
 * @param rounds how often each side has its turn
 * @param seconds how long a turn is, at least
 * @param lanes the threads that compute
 * @param works what is named on the command line
 */
record Measuring(int rounds, double seconds, int lanes, List<String> works) {
  private static final int ROUNDS = 5;

  /**
   * Reads a command line.
   *
   * @param seconds how long a turn is if it does not say
   * @throws IllegalArgumentException if it is wrong
   */
  static Measuring parse(String[] args, double seconds) {
    int rounds = ROUNDS;
    double turn = seconds;
    int lanes = Runtime.getRuntime().availableProcessors();
    List<String> works = new ArrayList<>();
    try {
      for (int i = 0; i < args.length; i++) {
        switch (args[i]) {
          case "--rounds" -> rounds = Integer.parseInt(args[++i]);
          case "--seconds" -> turn = Double.parseDouble(args[++i]);
          case "--lanes" -> lanes = Integer.parseInt(args[++i]);
          default -> works.add(args[i]);
        }
      }
    } catch (ArrayIndexOutOfBoundsException e) {
      throw new IllegalArgumentException(args[args.length - 1] + " needs a value", e);
    }
    if (rounds < 1 || lanes < 1) {
      throw new IllegalArgumentException("expected at least one round and lane");
    }
    return new Measuring(rounds, turn, lanes, List.copyOf(works));
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT, "%d lanes, %d rounds, each at least %.1f s a side", lanes, rounds, seconds);
  }
}
