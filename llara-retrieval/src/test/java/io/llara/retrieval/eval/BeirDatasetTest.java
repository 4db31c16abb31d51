package io.llara.retrieval.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BeirDatasetTest {
  @TempDir private Path parent;

  private BeirFolder folder;

  @BeforeEach
  void writeFolder() {
    folder = new BeirFolder(parent.resolve("small"));
  }

  @Test
  void opensPlainAndZipped() {
    BeirDataset plain = BeirDataset.open(folder.path(), "test");
    folder.zip("corpus.jsonl").zip("queries.jsonl").zip("qrels/test.tsv");
    BeirDataset zipped = BeirDataset.open(folder.path(), "test");
    for (BeirDataset dataset : new BeirDataset[] {plain, zipped}) {
      assertThat(dataset.name()).isEqualTo("small");
      assertThat(dataset.summary().documents()).isEqualTo(6);
      assertThat(dataset.queries()).containsOnlyKeys("q1", "q2", "q3");
      assertThat(dataset.qrels().size()).isEqualTo(6);
      assertThat(dataset.findings().warnings())
          .containsExactly("skipped documents with neither title nor text: 2 (blank1, blank2)");
    }
  }

  @Test
  void readsTheSplitThatIsAskedFor() {
    folder.qrels("dev", "query-id\tcorpus-id\tscore\nq3\td1\t1\n");
    assertThat(BeirDataset.open(folder.path(), "dev").queries()).containsOnlyKeys("q3");
    assertRefused(
        () -> BeirDataset.open(folder.path(), "train"), "has neither train.tsv", "dev, test");
  }

  @Test
  void countsAndNamesWhatIsUnknown() {
    folder.qrels(
        "test",
        BeirFolder.QRELS + "q1\tgone1\t1\nq2\tgone2\t0\nq8\td1\t1\nq4\tblank1\t1\nq9\tgone1\t1\n");
    BeirDataset dataset = BeirDataset.open(folder.path(), "test");
    assertThat(dataset.queries()).containsOnlyKeys("q1", "q2", "q3");
    assertThat(dataset.findings().unknownDocuments()).containsExactly("gone1", "gone2");
    assertThat(dataset.findings().unknownQueries()).containsExactly("q8", "q9");
    assertThat(dataset.findings().blankQueries()).containsExactly("q4");
    assertThat(dataset.findings().warnings())
        .containsExactly(
            "skipped documents with neither title nor text: 2 (blank1, blank2)",
            "judged documents that the corpus does not have, counted as not found: 2"
                + " (gone1, gone2)",
            "judged queries that the queries file does not have, counted as 0: 2 (q8, q9)",
            "judged queries without text, counted as 0: 1 (q4)");
  }

  @Test
  void aWarningNamesTwentyIds() {
    folder.qrels(
        "test",
        BeirFolder.QRELS
            + IntStream.range(0, 30)
                .mapToObj(i -> "q1\tgone%d\t1\n".formatted(i))
                .collect(Collectors.joining()));
    assertThat(BeirDataset.open(folder.path(), "test").findings().warnings().get(1))
        .contains("30 (gone0, ")
        .endsWith("gone19, …)");
  }

  @Test
  void refusesIdsThatAreThereTwice() {
    folder.corpus(BeirFolder.CORPUS + "{\"_id\": \"blank1\", \"text\": \"again\"}\n");
    assertRefused(
        () -> BeirDataset.open(folder.path(), "test"),
        "corpus.jsonl:9: repeats the id 'blank1' of line 2");
    folder.corpus(BeirFolder.CORPUS);
    folder.queries(BeirFolder.QUERIES + "\n{\"_id\": \"q2\", \"text\": \"again\"}\n");
    assertRefused(
        () -> BeirDataset.open(folder.path(), "test"),
        "queries.jsonl:7: repeats the id 'q2' of line 2");
  }

  @Test
  void refusesWhatIsNoCollection() throws IOException {
    assertRefused(() -> BeirDataset.open(parent.resolve("none"), "test"), "is not a directory");
    Files.delete(folder.path().resolve("qrels/test.tsv"));
    assertRefused(() -> BeirDataset.open(folder.path(), "test"), "has neither test.tsv", "none");
    folder.qrels("test", "query-id\tcorpus-id\tscore\n");
    assertRefused(() -> BeirDataset.open(folder.path(), "test"), "contains no judgements");
    folder.qrels("test", BeirFolder.QRELS).queries("{\"_id\": \"other\", \"text\": \"x\"}");
    assertRefused(
        () -> BeirDataset.open(folder.path(), "test"), "has a text for none of the 3 queries");
    folder.queries("{\"_id\": \"q1\"}");
    assertRefused(
        () -> BeirDataset.open(folder.path(), "test"), "queries.jsonl:1: key 'text' is missing");
    folder.queries(BeirFolder.QUERIES).corpus("{\"_id\": \"d1\", \"text\": \"\"}");
    assertRefused(() -> BeirDataset.open(folder.path(), "test"), "no document with text");
    folder.corpus("{\"_id\": \"d1\", \"text\": \"x\"}\n[]");
    assertRefused(() -> BeirDataset.open(folder.path(), "test"), ":2: holds a list");
    Files.delete(folder.path().resolve("corpus.jsonl"));
    assertRefused(
        () -> BeirDataset.open(folder.path(), "test"),
        "has neither corpus.jsonl nor corpus.jsonl.gz");
  }

  private static void assertRefused(ThrowingCallable call, String... parts) {
    assertThatThrownBy(call).isInstanceOf(LlaraException.class).hasMessageContainingAll(parts);
  }
}
