package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Recall@10 of 2,000 vectors of 2,048 components in PostgreSQL. */
class PgVectorsTest {
  private static final int K = 10;

  @TempDir private Path home;

  @FunctionalInterface
  private interface Search {
    List<Integer> find(float[] query, int candidates, int limit) throws SQLException;
  }

  @Test
  void recall() throws Exception {
    Optional<Path> programs = PostgresServer.programs();
    assumeTrue(programs.isPresent(), "needs PostgreSQL's server");
    List<float[]> vectors = Synthetic.embeddings(2_000, 2);
    try (PostgresServer server = PostgresServer.start(programs.get(), home);
        Connection connection = server.connect()) {
      assumeTrue(hasPgvector(connection), "needs PostgreSQL's extension pgvector, 0.7 or newer");
      PgVectors table = new PgVectors(connection, Synthetic.DIMENSION);
      table.add(vectors);

      double half = recall(vectors, table::byHalf, K);
      double halfRescored = recall(vectors, table::byHalf, 50);
      double bits = recall(vectors, table::byBits, K);
      double bitsRescored = recall(vectors, table::byBits, 100);
      System.out.printf(
          "recall@10: halfvec %.3f of 10 candidates, %.3f of 50; bit %.3f of 10, %.3f of 100%n",
          half, halfRescored, bits, bitsRescored);
      assertThat(halfRescored).isGreaterThan(0.98);
      assertThat(bitsRescored).isGreaterThan(0.9).isGreaterThan(bits);
    }
  }

  private static double recall(List<float[]> vectors, Search search, int candidates)
      throws SQLException {
    double sum = 0;
    List<float[]> queries = Synthetic.embeddings(50, 3);
    for (float[] query : queries) {
      sum += Synthetic.recall(query, vectors, K, search.find(query, candidates, K));
    }
    return sum / queries.size();
  }

  private static boolean hasPgvector(Connection connection) throws SQLException {
    String sql =
        "SELECT 1 FROM pg_available_extension_versions WHERE name = 'vector'"
            + " AND string_to_array(version, '.')::int[] >= '{0,7}'";
    try (Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery(sql)) {
      return rows.next();
    }
  }
}
