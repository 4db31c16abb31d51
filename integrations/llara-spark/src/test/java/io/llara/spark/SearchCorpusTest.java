package io.llara.spark;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SearchCorpusTest {
  private static final Path CORPUS =
      Path.of("../../llara-examples/src/main/resources/io/llara/examples/demo/corpus.jsonl");

  @TempDir private Path temporary;

  @Test
  void findsThePassageThatAnswers() throws Exception {
    SparkSession spark = LocalSpark.session();
    // The first twenty, for time.
    Path corpus = temporary.resolve("corpus.jsonl");
    Files.write(corpus, Files.readAllLines(CORPUS).subList(0, 20));
    List<Row> hits =
        SearchCorpus.search(
                spark,
                corpus.toString(),
                temporary.resolve("vectors").toString(),
                "Why do I cry when I chop onions?")
            .collectAsList();
    assertThat(hits).hasSize(10);
    assertThat(hits.get(0).getString(3)).contains("onion");
  }
}
