package io.llara.spark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.InMemoryVectors;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.function.IntFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class DistributedSearchTest {
  private static final int PASSAGES = 300;
  private static final int DIMENSION = 8;

  @BeforeAll
  static void sparkRuns() {
    LocalSpark.requireUsable();
  }

  @Test
  void findsWhatExactSearchFindsTiesIncluded() {
    List<float[]> passages = vectors(PASSAGES, 1);
    List<float[]> queries = vectors(7, 2);
    check(passages, queries, DataTypes.LongType, index -> (long) index);
    check(passages, queries, DataTypes.IntegerType, index -> index);
  }

  @Test
  void idsThatAreStringsAreInTheOrderOfCodePoints() {
    // U+FF5E is less than U+1F600, whose first half in UTF-16 is less than it.
    IntFunction<Object> names =
        index ->
            "%s%03d".formatted(index < 100 ? "a" : index < 200 ? "\uFF5E" : "\uD83D\uDE00", index);
    check(vectors(PASSAGES, 3), vectors(5, 4), DataTypes.StringType, names);
  }

  /** Compares with a search over all passages in the order of their ids. */
  private static void check(
      List<float[]> passages, List<float[]> queries, DataType type, IntFunction<Object> ids) {
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < passages.size(); i++) {
      rows.add(RowFactory.create(passages.get(i), ids.apply(i)));
    }
    rows.add(RowFactory.create(null, ids.apply(passages.size())));
    Collections.shuffle(rows, new Random(5));
    Dataset<Row> table = table(rows, type).repartition(3);
    int k = 20;
    List<Row> found =
        DistributedSearch.of(table, "name", "vector")
            .topK(queries, k)
            .orderBy("query", "rank")
            .collectAsList();
    try (ExactSearch exact = new ExactSearch(new InMemoryVectors(passages), 1)) {
      List<Hits> expected = exact.search(new InMemoryVectors(queries), k);
      List<Row> rowsExpected = new ArrayList<>();
      int ties = 0;
      for (int query = 0; query < queries.size(); query++) {
        Hits hits = expected.get(query);
        for (int rank = 0; rank < hits.size(); rank++) {
          int index = (int) hits.indices().get(rank);
          double score = hits.scores().get(rank);
          ties += rank > 0 && score == hits.scores().get(rank - 1) ? 1 : 0;
          rowsExpected.add(RowFactory.create(query, rank + 1, ids.apply(index), score));
        }
      }
      assertThat(ties).as("ties among the hits").isGreaterThan(queries.size());
      assertThat(found).isEqualTo(rowsExpected);
    }
  }

  @Test
  void refusesWhatCannotBeSearched() {
    List<float[]> passages = vectors(3, 1);
    List<Row> rows = new ArrayList<>();
    passages.forEach(vector -> rows.add(RowFactory.create(vector, 1L)));
    Dataset<Row> table = table(rows, DataTypes.LongType);
    assertThatThrownBy(() -> DistributedSearch.of(table, "id", "vector"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("there is no column 'id'; there are: vector, name");
    assertThatThrownBy(() -> DistributedSearch.of(table, "name", "name"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the column 'name' is of type bigint; expected vectors, array<float>");
    assertThatThrownBy(() -> DistributedSearch.of(table, "vector", "vector"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("expected ids, long, int or string");
    DistributedSearch search = DistributedSearch.of(table, "name", "vector");
    assertThatThrownBy(() -> search.topK(passages, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("k is 0; expected 1 or more");
    assertThatThrownBy(() -> search.topK(List.of(new float[3]), 1).count())
        .rootCause()
        .hasMessage("the queries have the dimension 3, the passages 8");
    assertThat(search.topK(passages, 10).count()).isEqualTo(9);
  }

  private static Dataset<Row> table(List<Row> rows, DataType id) {
    StructType schema =
        new StructType()
            .add("vector", DataTypes.createArrayType(DataTypes.FloatType), true)
            .add("name", id, false);
    return LocalSpark.session().createDataFrame(rows, schema);
  }

  /** Vectors of few values, so that many scores are equal. */
  private static List<float[]> vectors(int count, long seed) {
    Random random = new Random(seed);
    List<float[]> vectors = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      float[] vector = new float[DIMENSION];
      for (int j = 0; j < DIMENSION; j++) {
        vector[j] = random.nextInt(3) - 1;
      }
      vectors.add(vector);
    }
    return vectors;
  }
}
