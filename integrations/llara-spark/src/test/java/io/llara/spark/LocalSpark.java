package io.llara.spark;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.spark.TextEmbedder.InputType;
import io.llara.testing.Stories;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.Assumptions;

/** A Spark in this process that all tests share, and texts for it. */
final class LocalSpark {
  static final int CORES = 2;

  static final StructType DOCUMENTS =
      new StructType().add("id", DataTypes.LongType).add("text", DataTypes.StringType);

  private LocalSpark() {}

  /** Returns the session; the tests are skipped where Spark does not run. */
  static SparkSession session() {
    return session(false);
  }

  static SparkSession session(boolean ui) {
    requireUsable();
    return SparkSession.builder()
        .master("local[" + CORES + "]")
        .appName("llara-spark")
        .config("spark.ui.enabled", ui)
        .config("spark.ui.port", 0)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.sql.warehouse.dir", System.getProperty("java.io.tmpdir"))
        .getOrCreate();
  }

  /** Hadoop asks Java for the user in a way that Java 24 has no more. */
  static void requireUsable() {
    try {
      UserGroupInformation.getCurrentUser();
    } catch (UnsupportedOperationException e) {
      Assumptions.abort(
          "Spark %s does not run on Java %d: its Hadoop needs what Java 24 took away (%s)"
              .formatted(
                  org.apache.spark.package$.MODULE$.SPARK_VERSION(),
                  Runtime.version().feature(),
                  e.getMessage()));
    } catch (java.io.IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  /** Returns texts of many lengths. */
  static List<String> texts(int count) {
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      texts.add("Story " + i + ". " + "Lily and Tom went to the park. ".repeat(1 + i * 7 % 11));
    }
    return texts;
  }

  static Dataset<Row> documents(List<String> texts, int partitions) {
    return documents(session(), texts, partitions);
  }

  static Dataset<Row> documents(SparkSession session, List<String> texts, int partitions) {
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      rows.add(RowFactory.create((long) i, texts.get(i)));
    }
    return session.createDataFrame(rows, DOCUMENTS).coalesce(1).repartition(partitions);
  }

  static TextEmbedder embedder() {
    return new TextEmbedder()
        .setModel(Stories.dir().toAbsolutePath().toString())
        .setComputeType(ComputeType.FLOAT32);
  }

  static Encoder encoder(int threads) {
    return Encoder.builder(Stories.dir()).computeType(ComputeType.FLOAT32).threads(threads).build();
  }

  /** Returns the vectors of a partition's texts as this process makes them in one call. */
  static List<float[]> inOneCall(Encoder encoder, List<String> texts, InputType type) {
    boolean query = type == InputType.QUERY;
    Encoder kind = query ? encoder.forQueries() : encoder.forPassages();
    Mode mode = query ? encoder.modes().query() : encoder.modes().passage();
    List<Prompt> prompts =
        texts.stream().map(text -> kind.prompts().build(text, mode, kind.maxTokens())).toList();
    return kind.encodePrompts(prompts, mode);
  }

  /** Returns the rows of each partition. */
  static List<List<Row>> partitions(Dataset<Row> rows) {
    return rows.javaRDD().glom().collect();
  }

  /** Returns the vectors by id, of which none occurs twice. */
  static Map<Long, float[]> vectors(Dataset<Row> rows) {
    Map<Long, float[]> vectors = new HashMap<>();
    for (Row row : rows.select("id", "embedding").collectAsList()) {
      assertThat(vectors.put(row.getLong(0), vector(row, 1))).as("id %s", row.get(0)).isNull();
    }
    return vectors;
  }

  static float[] vector(Row row, int column) {
    List<Float> values = row.getList(column);
    float[] vector = new float[values.size()];
    for (int i = 0; i < vector.length; i++) {
      vector[i] = values.get(i);
    }
    return vector;
  }
}
