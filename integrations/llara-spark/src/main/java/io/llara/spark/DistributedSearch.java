package io.llara.spark;

import static org.apache.spark.sql.functions.col;

import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.InMemoryVectors;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.expressions.Window;
import org.apache.spark.sql.expressions.WindowSpec;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/**
 * Finds, for each of many queries, the vectors of a dataset with the largest inner products: those
 * that {@link ExactSearch} finds, with the same scores. Each partition keeps its best, and the best
 * of these are taken.
 *
 * <pre>{@code
 * DistributedSearch search = DistributedSearch.of(vectors, "id", "embedding");
 * Dataset<Row> hits = search.topK(encoder.forQueries().encodeAll(queries, encoder.modes().query()), 10);
 * }</pre>
 *
 * <p>Of equal scores the smaller id comes first: the smaller number or, of strings, the first by
 * code points. Rows without a vector are left out. Ids that occur twice are found twice.
 *
 * <p>The queries go to every executor; a search reads all vectors once, however many there are.
 * Executors need the native libraries that encoders need. Immutable and thread-safe.
 */
public final class DistributedSearch {
  private static final Set<String> HIT_COLUMNS = Set.of("query", "rank", "score");

  private final Dataset<Row> passages;
  private final String idColumn;
  private final String vectorColumn;
  private final boolean numbers;

  private DistributedSearch(
      Dataset<Row> passages, String idColumn, String vectorColumn, boolean numbers) {
    this.passages = passages;
    this.idColumn = idColumn;
    this.vectorColumn = vectorColumn;
    this.numbers = numbers;
  }

  /**
   * Returns a search in the vectors of a dataset.
   *
   * @param idColumn the column of ids, of type {@code long}, {@code int} or {@code string}
   * @param vectorColumn the column of vectors, {@code array<float>}
   * @throws IllegalArgumentException if there are no such columns
   */
  public static DistributedSearch of(Dataset<Row> passages, String idColumn, String vectorColumn) {
    DataType id = type(passages, idColumn);
    boolean numbers = id.equals(DataTypes.LongType) || id.equals(DataTypes.IntegerType);
    if (!numbers && !id.equals(DataTypes.StringType)) {
      throw new IllegalArgumentException(
          "the column '%s' is of type %s; expected ids, long, int or string"
              .formatted(idColumn, id.simpleString()));
    }
    if (HIT_COLUMNS.contains(idColumn)) {
      throw new IllegalArgumentException(
          "the column of ids is '%s', as a column of the hits is; rename it".formatted(idColumn));
    }
    DataType vector = type(passages, vectorColumn);
    if (!(vector instanceof ArrayType array) || !array.elementType().equals(DataTypes.FloatType)) {
      throw new IllegalArgumentException(
          "the column '%s' is of type %s; expected vectors, array<float>"
              .formatted(vectorColumn, vector.simpleString()));
    }
    return new DistributedSearch(passages, idColumn, vectorColumn, numbers);
  }

  private static DataType type(Dataset<Row> passages, String column) {
    StructType schema = passages.schema();
    if (!Arrays.asList(schema.fieldNames()).contains(column)) {
      throw new IllegalArgumentException(
          "there is no column '%s'; there are: %s"
              .formatted(column, String.join(", ", schema.fieldNames())));
    }
    return schema.apply(column).dataType();
  }

  /**
   * Returns the best vectors for each query.
   *
   * @param queries their vectors, all of the passages' dimension
   * @param k how many for each query, at least 1; there may be fewer
   * @return the hits in no order, with the columns {@code query} (int, its index in the list),
   *     {@code rank} (int, from 1), that of the ids, and {@code score} (double)
   * @throws IllegalArgumentException if {@code k} is not positive, there is no query, or their
   *     lengths differ. What is wrong with vectors of the dataset fails the job
   */
  public Dataset<Row> topK(List<float[]> queries, int k) {
    Hits.requireCount(k);
    if (new InMemoryVectors(queries).count() == 0) {
      throw new IllegalArgumentException("there are no queries; expected one or more");
    }
    JavaSparkContext context =
        JavaSparkContext.fromSparkContext(passages.sparkSession().sparkContext());
    Broadcast<float[][]> everywhere = context.broadcast(queries.toArray(float[][]::new));
    Column id = quoted(idColumn);
    Column none = functions.lit(null).cast(DataTypes.StringType);
    Dataset<Row> vectors =
        passages
            .where(quoted(vectorColumn).isNotNull())
            .select(
                (numbers ? id.cast(DataTypes.LongType) : functions.lit(0L)).as("number"),
                (numbers ? none : id).as("name"),
                quoted(vectorColumn).as("vector"));
    StructType hit =
        new StructType()
            .add("query", DataTypes.IntegerType, false)
            .add("number", DataTypes.LongType, false)
            .add("name", DataTypes.StringType, true)
            .add("score", DataTypes.DoubleType, false);
    Dataset<Row> best =
        vectors
            .as(Encoders.bean(IndexedVector.class))
            .mapPartitions(new SearchPartition(everywhere, k), Encoders.row(hit));
    WindowSpec ranking =
        Window.partitionBy("query")
            .orderBy(col("score").desc(), col("number").asc(), col("name").asc());
    return best.withColumn("rank", functions.row_number().over(ranking))
        .where(col("rank").leq(k))
        .select(
            col("query"),
            col("rank"),
            (numbers ? col("number").cast(type(passages, idColumn)) : col("name")).as(idColumn),
            col("score"));
  }

  /** Returns a column by its name, which may have a dot. */
  static Column quoted(String name) {
    return functions.col("`" + name.replace("`", "``") + "`");
  }
}
