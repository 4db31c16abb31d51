package io.llara.spark;

import io.llara.Encoder;
import io.llara.EncoderBuilder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.LongSupplier;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;

/**
 * Measures what Spark costs: the same texts, on as many cores, by one encoder in this process and
 * by a transformer with {@code local[cores]}, in turns. Prints tokens per second of each round, and
 * the ratio of the medians.
 */
public final class SparkThroughput {
  private static final int ROUNDS = 5;
  private static final int WORDS = 80;

  private SparkThroughput() {}

  /**
   * Runs it.
   *
   * @param args how many cores, how many texts, and the directory of a model; without the last the
   *     default encoder
   */
  public static void main(String[] args) throws Exception {
    int cores = Integer.parseInt(args[0]);
    int count = Integer.parseInt(args[1]);
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      texts.add(
          ("Passage " + i + ": what the weather did to the harvest. ")
              .repeat(1 + (i * 7) % (WORDS / 8)));
    }
    try (SparkSession spark =
            SparkSession.builder()
                .master("local[" + cores + "]")
                .config("spark.ui.enabled", false)
                .config("spark.driver.host", "127.0.0.1")
                .config("spark.driver.bindAddress", "127.0.0.1")
                .getOrCreate();
        Encoder encoder = builder(args).threads(cores).build()) {
      List<Row> rows = new ArrayList<>();
      texts.forEach(text -> rows.add(RowFactory.create((long) rows.size(), text)));
      Dataset<Row> documents =
          spark.createDataFrame(rows, LocalSpark.DOCUMENTS).repartition(4 * cores).cache();
      documents.count();
      TextEmbedder embedder = new TextEmbedder().setThreads(cores);
      if (args.length > 2) {
        embedder.setModel(args[2]);
      }
      LongSupplier alone =
          () -> {
            long before = encoder.statistics().tokens();
            encoder.encodeAll(texts, encoder.modes().passage());
            return encoder.statistics().tokens() - before;
          };
      LongSupplier onSpark =
          () -> {
            long before = embedder.metrics().tokens();
            embedder.transform(documents).write().format("noop").mode(SaveMode.Overwrite).save();
            return embedder.metrics().tokens() - before;
          };
      tokensPerSecond(alone);
      tokensPerSecond(onSpark);
      double[] one = new double[ROUNDS];
      double[] spread = new double[ROUNDS];
      for (int round = 0; round < ROUNDS; round++) {
        one[round] = tokensPerSecond(alone);
        spread[round] = tokensPerSecond(onSpark);
        System.out.printf(
            "round %d: one encoder %,.0f tokens/s, Spark %,.0f%n",
            round, one[round], spread[round]);
      }
      System.out.printf("ratio of the medians: %.3f%n", median(spread) / median(one));
    }
  }

  private static EncoderBuilder builder(String[] args) {
    return args.length > 2 ? Encoder.builder(Path.of(args[2])) : Encoder.builder();
  }

  private static double tokensPerSecond(LongSupplier work) {
    long begin = System.nanoTime();
    long tokens = work.getAsLong();
    return tokens * 1e9 / (System.nanoTime() - begin);
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }
}
