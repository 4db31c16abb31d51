package io.llara.spark;

import io.llara.Encoder;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * An example: embeds a collection on a cluster and searches it there. Without a model's name it
 * uses the default encoder, from a jar of its own.
 *
 * <p>{@code spark-submit --class io.llara.spark.SearchCorpus application.jar corpus.jsonl vectors
 * "Why is the sky blue?"}, with the columns {@code _id} and {@code text} in the collection. Killed
 * and started again, it goes on where it was.
 */
public final class SearchCorpus {
  private SearchCorpus() {}

  /** Embeds what is missing, and prints the ten passages that match a query best. */
  public static void main(String[] args) throws Exception {
    try (SparkSession spark = SparkSession.builder().appName("search-corpus").getOrCreate()) {
      search(spark, args[0], args[1], args[2]).show(10, 80);
    }
  }

  /** Returns the best passages, best first, with their texts. */
  static Dataset<Row> search(SparkSession spark, String corpus, String folder, String query) {
    Dataset<Row> passages = spark.read().json(corpus);
    EmbeddingJob job = EmbeddingJob.builder(new TextEmbedder()).columns("_id").build();
    job.run(passages, folder);

    try (Encoder encoder = Encoder.loadDefault()) {
      Dataset<Row> hits =
          DistributedSearch.of(spark.read().parquet(folder), "_id", "embedding")
              .topK(List.of(encoder.encodeQuery(query)), 10);
      return hits.join(passages, "_id").orderBy("rank").select("rank", "score", "_id", "text");
    }
  }
}
