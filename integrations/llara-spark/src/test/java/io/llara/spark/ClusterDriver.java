package io.llara.spark;

import java.nio.file.Path;
import java.util.List;
import org.apache.spark.sql.SparkSession;

/** The driver of {@link ClusterTest}, in a process of its own: embeds texts on a cluster. */
public final class ClusterDriver {
  /** So many partitions, each of which is a file. */
  static final int PARTITIONS = 16;

  static final List<String> TEXTS = LocalSpark.texts(1600);

  private ClusterDriver() {}

  /**
   * Runs a job.
   *
   * @param args the master, the folder to write to, what executors have on their class path
   */
  public static void main(String[] args) {
    SparkSession session =
        SparkSession.builder()
            .master(args[0])
            .appName("llara-cluster")
            .config("spark.ui.enabled", false)
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.executor.cores", 1)
            .config("spark.executor.memory", "512m")
            .config("spark.executor.extraClassPath", args[2])
            .config("spark.sql.shuffle.partitions", 2)
            .config(
                "spark.sql.warehouse.dir", Path.of(args[1]).resolveSibling("warehouse").toString())
            .getOrCreate();
    EmbeddingJob.Report report =
        EmbeddingJob.builder(LocalSpark.embedder())
            .columns("id")
            .build()
            .run(LocalSpark.documents(session, TEXTS, PARTITIONS), args[1]);
    System.out.println("embedded " + report.embedded() + " of " + report.partitions());
    session.stop();
  }
}
