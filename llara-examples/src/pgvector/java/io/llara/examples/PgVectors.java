package io.llara.examples;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Embeddings in PostgreSQL with pgvector 0.7 or newer, to copy from: a table with the whole
 * vectors, graphs over 16 and over 1 bit a component, and what they find scored again with the
 * whole vectors.
 */
final class PgVectors {
  private final Connection connection;
  private final int dimension;

  /** Creates the table and its graphs. */
  PgVectors(Connection connection, int dimension) throws SQLException {
    this.connection = connection;
    this.dimension = dimension;
    try (Statement statement = connection.createStatement()) {
      statement.execute("CREATE EXTENSION IF NOT EXISTS vector");
      statement.execute(
          "CREATE TABLE passage (id int PRIMARY KEY, embedding vector(%d))".formatted(dimension));
      statement.execute(
          "CREATE INDEX ON passage USING hnsw ((%s) halfvec_ip_ops)".formatted(half()));
      statement.execute(
          "CREATE INDEX ON passage USING hnsw ((%s) bit_hamming_ops)".formatted(bits()));
    }
  }

  private String half() {
    return "embedding::halfvec(%d)".formatted(dimension);
  }

  private String bits() {
    return "binary_quantize(embedding)::bit(%d)".formatted(dimension);
  }

  void add(List<float[]> embeddings) throws SQLException {
    try (PreparedStatement insert =
        connection.prepareStatement("INSERT INTO passage VALUES (?, ?::vector)")) {
      for (int id = 0; id < embeddings.size(); id++) {
        insert.setInt(1, id);
        insert.setString(2, Arrays.toString(embeddings.get(id)));
        insert.addBatch();
      }
      insert.executeBatch();
    }
  }

  /** Returns the nearest among the candidates that 16 bits a component find. */
  List<Integer> byHalf(float[] query, int candidates, int limit) throws SQLException {
    String distance = half() + " <#> ?::vector::halfvec(%d)".formatted(dimension);
    return search(distance, query, candidates, limit);
  }

  /** Returns the nearest among the candidates that 1 bit a component finds. */
  List<Integer> byBits(float[] query, int candidates, int limit) throws SQLException {
    String distance = bits() + " <~> binary_quantize(?::vector)::bit(%d)".formatted(dimension);
    return search(distance, query, candidates, limit);
  }

  private List<Integer> search(String distance, float[] query, int candidates, int limit)
      throws SQLException {
    String sql =
        """
        SELECT id
        FROM (SELECT id, embedding FROM passage ORDER BY %s LIMIT %d) AS candidate
        ORDER BY embedding <#> ?::vector LIMIT %d
        """
            .formatted(distance, candidates, limit);
    try (Statement settings = connection.createStatement();
        PreparedStatement select = connection.prepareStatement(sql)) {
      settings.execute("SET hnsw.ef_search = " + candidates);
      select.setString(1, Arrays.toString(query));
      select.setString(2, Arrays.toString(query));
      List<Integer> found = new ArrayList<>();
      try (ResultSet rows = select.executeQuery()) {
        while (rows.next()) {
          found.add(rows.getInt(1));
        }
      }
      return found;
    }
  }
}
