package io.llara.spark;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Throwables;
import io.llara.LlaraException;
import io.llara.retrieval.TextDigest;
import java.io.Serializable;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.CompletionService;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorCompletionService;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.Function2;
import org.apache.spark.rdd.PartitionPruningRDD;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.StructType;
import scala.Function1;

/**
 * Writes vectors to Parquet, partition by partition, so that a job that was interrupted goes on.
 *
 * <pre>{@code
 * EmbeddingJob.Report report =
 *     EmbeddingJob.builder(embedder).columns("id").build().run(passages, "hdfs:///vectors");
 * }</pre>
 *
 * <p>The folder gets one file for each partition of the input, {@code part-00000.parquet} and so
 * on, which appears under this name when it is whole, and {@code _SUCCESS} when all are there;
 * {@code spark.read().parquet(folder)} reads it. Run again with the same folder, whether the driver
 * ended or a partition failed, the job embeds the partitions that are missing and no other. When
 * executors are lost meanwhile, Spark computes their partitions again.
 *
 * <p>{@code _llara.json} says what the vectors are: of which model (a digest of its files), with
 * which settings, of which input (a digest of the rows of each partition, in any order). A job that
 * differs in any of it is refused. The digest takes a pass over the input at each start. The rows
 * of a partition must be the same each time: splits of files change with their sizes, {@code
 * spark.sql.files.maxPartitionBytes} and the number of cores, {@code passages.repartition(1000,
 * col("id"))} does not.
 *
 * <p>Partitions are the unit of work and of loss: some minutes each are good. Every one is a Spark
 * job, of which as many run at once as there are cores and a quarter more. One driver at a time may
 * write to a folder. On a file system without an atomic rename, such as an object store, a file
 * appears when its copy is whole.
 *
 * <p>Immutable and thread-safe as long as the embedder is not changed.
 */
public final class EmbeddingJob {
  private static final String FORMAT = "1";
  private static final String DIGEST = "llara_digest";

  private final TextEmbedder embedder;
  private final List<String> columns;

  /**
   * What a run did.
   *
   * @param partitions how many the input has
   * @param embedded how many of them were missing, and embedded now
   * @param metrics what the embedder did in this run
   */
  public record Report(int partitions, int embedded, EmbeddingMetrics metrics) {}

  /** The rows of a partition, by their hashes in any order. */
  private record Content(long rows, long sum, long mixed) implements Serializable {}

  private EmbeddingJob(Builder builder) {
    this.embedder = builder.embedder;
    this.columns = builder.columns;
  }

  /** Returns a builder of jobs of an embedder. */
  public static Builder builder(TextEmbedder embedder) {
    return new Builder(embedder);
  }

  /**
   * Embeds the partitions that the folder does not have.
   *
   * @param input texts, and other columns, none of them a map
   * @param folder a folder of a file system of Hadoop; it need not exist
   * @throws IllegalArgumentException if a column is missing, or as {@link TextEmbedder#transform}
   * @throws io.llara.ModelLoadException if the driver cannot read the model
   * @throws LlaraException if the folder was begun with another model, other settings or other
   *     input, or is no such folder; if a partition failed, as it does when a text cannot be
   *     embedded; or if this thread is interrupted. What Spark throws while it looks at the input
   *     passes through
   */
  public Report run(Dataset<Row> input, String folder) {
    Set<String> written = new LinkedHashSet<>(columns);
    if (columns.isEmpty()) {
      written.addAll(Arrays.asList(input.columns()));
    }
    Set<String> read = new LinkedHashSet<>(written);
    read.add(embedder.inputColumn());
    embedder.transformSchema(input.schema());
    Dataset<Row> rows = input.select(columns(read));
    Dataset<Row> hashed = rows.withColumn(DIGEST, functions.xxhash64(columns(read)));
    // One RDD for all that follows, so that its partitions are those whose content was looked at.
    JavaRDD<Row> partitions = hashed.javaRDD();

    EncoderSettings.Fingerprinted encoder = embedder.encoderSettings().fingerprinted();
    Map<String, String> plan = new TreeMap<>(embedder.meaning());
    plan.put("format", FORMAT);
    plan.put("model", encoder.model());
    plan.put("columns", String.join(", ", written));
    describe(partitions, rows.schema(), plan);
    SparkContext context = input.sparkSession().sparkContext();
    JobFolder files = new JobFolder(folder, context.hadoopConfiguration());
    files.begin(plan);

    int count = partitions.getNumPartitions();
    List<Integer> missing = files.missing(count);
    EmbeddingMetrics before = embedder.metrics();
    written.add(embedder.outputColumn());
    Writer writer = new Writer(hashed, partitions, encoder.settings(), columns(written), files);
    embedAll(missing, writer, context);
    files.end();
    EmbeddingMetrics after = embedder.metrics();
    return new Report(
        count,
        missing.size(),
        new EmbeddingMetrics(
            after.texts() - before.texts(),
            after.tokens() - before.tokens(),
            after.truncatedTexts() - before.truncatedTexts()));
  }

  private static Column[] columns(Set<String> names) {
    return names.stream().map(DistributedSearch::quoted).toArray(Column[]::new);
  }

  /** Looks at all rows and says what they are. */
  private static void describe(
      JavaRDD<Row> partitions, StructType schema, Map<String, String> plan) {
    Function2<Integer, Iterator<Row>, Iterator<Content>> content =
        (partition, rows) -> {
          long count = 0;
          long sum = 0;
          long mixed = 0;
          while (rows.hasNext()) {
            Row row = rows.next();
            long hash = row.getLong(row.length() - 1);
            count++;
            sum += hash;
            // The sum alone would not tell some pairs of changes from none.
            mixed += hash * (hash | 1);
          }
          return List.of(new Content(count, sum, mixed)).iterator();
        };
    List<Content> contents = partitions.mapPartitionsWithIndex(content, true).collect();
    TextDigest digest = new TextDigest();
    digest.add(schema.json());
    long rows = 0;
    for (Content partition : contents) {
      digest.add(partition.rows() + " " + partition.sum() + " " + partition.mixed());
      rows += partition.rows();
    }
    plan.put("input.partitions", Integer.toString(contents.size()));
    plan.put("input.rows", Long.toString(rows));
    plan.put("input.digest", digest.value());
  }

  /** Embeds partitions, several at once, until all are done or one has failed. */
  private static void embedAll(List<Integer> missing, Writer writer, SparkContext context) {
    if (missing.isEmpty()) {
      return;
    }
    int cores = context.defaultParallelism();
    int atOnce = Math.min(missing.size(), cores + Math.max(1, cores / 4));
    String group = "llara-" + UUID.randomUUID();
    ExecutorService drivers = Executors.newFixedThreadPool(atOnce);
    try {
      CompletionService<Integer> works = new ExecutorCompletionService<>(drivers);
      for (int partition : missing) {
        works.submit(
            () -> {
              context.setJobGroup(group, "vectors of partition " + partition, false);
              writer.write(partition);
              return partition;
            });
      }
      for (int i = 0; i < missing.size(); i++) {
        works.take().get();
      }
    } catch (ExecutionException e) {
      if (e.getCause() instanceof LlaraException failure) {
        throw failure;
      }
      throw new LlaraException(
          "the vectors could not be written: " + requireNonNull(e.getCause()).getMessage(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LlaraException("interrupted while partitions were embedded", e);
    } finally {
      drivers.shutdownNow();
      cancel(group, drivers, context);
    }
  }

  /** Ends the jobs of a group, and waits: nothing may write to the folder once a run is over. */
  private static void cancel(String group, ExecutorService drivers, SparkContext context) {
    boolean interrupted = false;
    while (!drivers.isTerminated()) {
      // A driver that was about to start its job does so after the first call.
      if (!context.isStopped()) {
        context.cancelJobGroup(group);
      }
      try {
        drivers.awaitTermination(50, TimeUnit.MILLISECONDS);
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Writes single partitions; thread-safe. */
  private final class Writer {
    private final Dataset<Row> rows;
    private final JavaRDD<Row> partitions;
    private final EncoderSettings encoder;
    private final Column[] columns;
    private final JobFolder files;

    Writer(
        Dataset<Row> rows,
        JavaRDD<Row> partitions,
        EncoderSettings encoder,
        Column[] columns,
        JobFolder files) {
      this.rows = rows;
      this.partitions = partitions;
      this.encoder = encoder;
      this.columns = columns;
      this.files = files;
    }

    void write(int partition) {
      JavaRDD<Row> one = PartitionPruningRDD.create(partitions.rdd(), only(partition)).toJavaRDD();
      Dataset<Row> input = rows.sparkSession().createDataFrame(one, rows.schema()).drop(DIGEST);
      try {
        embedder
            .transform(input, encoder)
            .select(columns)
            .write()
            .mode(SaveMode.Overwrite)
            .option("maxRecordsPerFile", 0)
            .parquet(files.temporary(partition));
      } catch (Exception e) {
        // Scala does not declare what it throws: a SparkException is checked.
        Throwable cause = Throwables.getRootCause(e);
        throw new LlaraException("partition %d: %s".formatted(partition, cause.getMessage()), e);
      }
      files.commit(partition);
    }
  }

  private static Function1<Object, Object> only(int partition) {
    return (Function1<Object, Object> & Serializable) index -> index.equals(partition);
  }

  /** Settings of a job. */
  public static final class Builder {
    private final TextEmbedder embedder;
    private List<String> columns = List.of();

    private Builder(TextEmbedder embedder) {
      this.embedder = requireNonNull(embedder, "embedder");
    }

    /**
     * Sets which columns of the input are written beside the vectors; by default all, the texts
     * among them.
     */
    public Builder columns(String... names) {
      this.columns = List.of(names);
      return this;
    }

    /** Makes the job. */
    public EmbeddingJob build() {
      return new EmbeddingJob(this);
    }
  }
}
