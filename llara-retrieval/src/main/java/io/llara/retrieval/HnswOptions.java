package io.llara.retrieval;

/**
 * How a graph is built and searched (HNSW, arXiv 1603.09320, section 4). More of each finds more
 * and takes longer.
 *
 * @param maxConnections M: how many neighbours a vector has on each layer but the lowest, where it
 *     has twice as many; from 2 to 512
 * @param efConstruction how many candidates are looked at for the neighbours of a new vector; from
 *     {@code maxConnections} to 3,200
 * @param efSearch how many candidates a search keeps, at least; a search for more than that keeps
 *     as many as it was asked for
 */
public record HnswOptions(int maxConnections, int efConstruction, int efSearch) {
  /** M 16, efConstruction 200, efSearch 200. */
  public static final HnswOptions DEFAULT = new HnswOptions(16, 200, 200);

  private static final int MOST_CONNECTIONS = 512;
  private static final int MOST_CANDIDATES = 3200;

  /** Checks that they are in range. */
  public HnswOptions {
    check("maxConnections", maxConnections, 2, MOST_CONNECTIONS);
    check("efConstruction", efConstruction, maxConnections, MOST_CANDIDATES);
    check("efSearch", efSearch, 1, Integer.MAX_VALUE);
  }

  private static void check(String name, int value, int least, int most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "%s is %d; expected a number from %d to %d".formatted(name, value, least, most));
    }
  }
}
