package io.llara.spark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.spark.TextEmbedder.InputType;
import io.llara.testing.Stories;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.api.java.UDF1;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EmbeddingJobTest {
  private static final List<String> TEXTS = LocalSpark.texts(40);

  /** How often the text that fails was looked at; in this process, as the executor is. */
  private static final AtomicInteger LOOKS = new AtomicInteger();

  @TempDir Path folder;

  @BeforeAll
  static void sparkRuns() {
    LocalSpark.requireUsable();
  }

  @Test
  void aJobThatFailedEmbedsWhatIsMissingAndNoMore() throws Exception {
    Dataset<Row> documents = LocalSpark.documents(TEXTS, 4).cache();
    List<List<Row>> partitions = LocalSpark.partitions(documents);
    String last = partitions.get(3).get(0).getString(1);
    LOOKS.set(0);
    // The first look is that of the digest.
    UDF1<String, String> failing =
        text -> {
          if (text.equals(last) && LOOKS.incrementAndGet() == 2) {
            throw new IllegalStateException("the disk is gone");
          }
          return text;
        };
    Dataset<Row> unreliable =
        documents.withColumn(
            "text", functions.udf(failing, DataTypes.StringType).apply(functions.col("text")));
    Path out = folder.resolve("vectors");
    EmbeddingJob job = job(LocalSpark.embedder());
    assertThatThrownBy(() -> job.run(unreliable, out.toString()))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("partition 3")
        .hasMessageContaining("the disk is gone");
    List<String> done = parts(out);
    assertThat(done).isNotEmpty().doesNotContain("part-00003.parquet");
    assertThat(out.resolve("_SUCCESS")).doesNotExist();
    byte[] first = Files.readAllBytes(out.resolve(done.get(0)));

    EmbeddingJob.Report report = job.run(unreliable, out.toString());
    assertThat(report.partitions()).isEqualTo(4);
    assertThat(report.embedded()).isEqualTo(4 - done.size());
    assertThat(report.metrics().texts())
        .isEqualTo(
            partitions.stream().mapToInt(List::size).sum()
                - done.stream().mapToInt(name -> partitions.get(number(name)).size()).sum());
    assertThat(Files.readAllBytes(out.resolve(done.get(0)))).isEqualTo(first);
    assertThat(out.resolve("_SUCCESS")).exists();
    assertThat(out.resolve("_temporary")).doesNotExist();
    assertSameVectors(out, documents);

    assertThat(job.run(unreliable, out.toString()).embedded()).isZero();
  }

  @Test
  void anotherModelOtherSettingsOrOtherInputAreRefused() throws Exception {
    Dataset<Row> documents = LocalSpark.documents(TEXTS, 2).cache();
    String out = folder.resolve("vectors").toString();
    job(LocalSpark.embedder()).run(documents, out);

    // The content counts, not where it lies.
    Path copy = Files.createDirectory(folder.resolve("model"));
    try (Stream<Path> files = Files.list(Stories.dir())) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    TextEmbedder moved = LocalSpark.embedder().setModel(copy.toString());
    assertThat(job(moved).run(documents, out).embedded()).isZero();
    Files.writeString(copy.resolve("config.json"), " ", java.nio.file.StandardOpenOption.APPEND);
    refused(job(moved), documents, out, "model was ");

    refused(
        job(LocalSpark.embedder().setInputType(InputType.QUERY)),
        documents,
        out,
        "inputType was PASSAGE and is QUERY");
    refused(
        job(LocalSpark.embedder().setMaxTokens(50)),
        documents,
        out,
        "maxTokens was null and is 50");
    refused(
        EmbeddingJob.builder(LocalSpark.embedder()).build(),
        documents,
        out,
        "columns was id and is id, text");
    refused(
        job(LocalSpark.embedder()), documents.coalesce(1), out, "input.partitions was 2 and is 1");
    List<String> changed = new ArrayList<>(TEXTS);
    changed.set(7, "Another story.");
    refused(job(LocalSpark.embedder()), LocalSpark.documents(changed, 2), out, "input.digest was ");
  }

  private static void refused(
      EmbeddingJob job, Dataset<Row> documents, String out, String difference) {
    assertThatThrownBy(() -> job.run(documents, out))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("was begun as another job")
        .hasMessageContaining(difference);
  }

  @Test
  void aFolderOfSomethingElseIsRefusedAndUntouched() throws Exception {
    Path file = Files.writeString(folder.resolve("letters.txt"), "dear");
    assertThatThrownBy(
            () -> job(LocalSpark.embedder()).run(LocalSpark.documents(TEXTS, 1), folder.toString()))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("'letters.txt'");
    try (Stream<Path> left = Files.list(folder)) {
      assertThat(left).containsExactly(file);
    }
  }

  @Test
  void columnsWithDotsAndEmptyPartitionsAreWritten() {
    Dataset<Row> documents =
        LocalSpark.documents(TEXTS.subList(0, 3), 1)
            .withColumnRenamed("text", "doc.text")
            .repartition(5, functions.col("id"));
    String out = folder.resolve("vectors").toString();
    TextEmbedder embedder = LocalSpark.embedder().setInputCol("doc.text");
    EmbeddingJob.Report report = EmbeddingJob.builder(embedder).build().run(documents, out);
    assertThat(report.embedded()).isEqualTo(report.partitions());
    Dataset<Row> written = LocalSpark.session().read().parquet(out);
    assertThat(written.columns()).containsExactly("id", "doc.text", "embedding");
    assertThat(written.count()).isEqualTo(3);
  }

  private static EmbeddingJob job(TextEmbedder embedder) {
    return EmbeddingJob.builder(embedder).columns("id").build();
  }

  private static List<String> parts(Path out) throws Exception {
    try (Stream<Path> files = Files.list(out)) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.startsWith("part-"))
          .sorted(Comparator.naturalOrder())
          .toList();
    }
  }

  private static int number(String name) {
    return Integer.parseInt(name.substring(5, 10));
  }

  private static void assertSameVectors(Path out, Dataset<Row> documents) {
    Map<Long, float[]> expected = LocalSpark.vectors(LocalSpark.embedder().transform(documents));
    Map<Long, float[]> written =
        LocalSpark.vectors(LocalSpark.session().read().parquet(out.toString()));
    assertThat(written.keySet()).isEqualTo(expected.keySet());
    expected.forEach((id, vector) -> assertThat(written.get(id)).isEqualTo(vector));
  }
}
