package io.llara.retrieval.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.llara.LlaraException;
import io.llara.retrieval.Bm25Options;
import io.llara.retrieval.Bm25Search;
import io.llara.retrieval.eval.BeirSuite.Member;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BeirSuiteTest {
  @TempDir private Path dir;

  private Path collection(String name) {
    return new BeirFolder(dir.resolve(name)).path();
  }

  private static List<String> names(BeirSuite suite) {
    return suite.members().stream().map(Member::name).toList();
  }

  @Test
  void subForumsCountAsOne() {
    collection("cqadupstack/android");
    collection("cqadupstack/english");
    collection("fiqa");
    collection("scifact");
    BeirSuite suite = BeirSuite.in(dir);
    assertThat(names(suite))
        .containsExactly("cqadupstack/android", "cqadupstack/english", "fiqa", "scifact");
    Map<String, Double> values =
        Map.of("cqadupstack/android", 0.2, "cqadupstack/english", 0.6, "fiqa", 0.1, "scifact", 0.9);
    double mean = (0.4 + 0.1 + 0.9) / 3;
    assertThat(suite.mean(member -> values.get(member.name()))).isEqualTo(mean, within(1e-15));

    BeirSuite named =
        BeirSuite.of(
            List.of(dir.resolve("fiqa"), dir.resolve("cqadupstack"), dir.resolve("scifact")));
    assertThat(names(named))
        .containsExactly("fiqa", "cqadupstack/android", "cqadupstack/english", "scifact");
    assertThat(named.mean(member -> values.get(member.name()))).isEqualTo(mean, within(1e-15));
  }

  @Test
  void subForumsBesideTheOthersCountAsOneToo() {
    BeirSuite suite =
        BeirSuite.of(
            List.of(
                collection("CQADupstackAndroid"),
                collection("fiqa"),
                collection("CQADupstackEnglish")));
    assertThat(suite.groups()).containsOnlyKeys("cqadupstack", "fiqa");
    assertThat(suite.mean(member -> member.name().endsWith("English") ? 0.5 : 0.1))
        .isEqualTo((0.3 + 0.1) / 2, within(1e-15));
  }

  @Test
  void refusesWhatIsNoSuite() throws IOException {
    Path empty = Files.createDirectory(dir.resolve("empty"));
    assertThatThrownBy(() -> BeirSuite.in(empty))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(empty + ": has no collection in it");
    assertThatThrownBy(() -> BeirSuite.of(List.of(empty)))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(empty + ": has neither corpus.jsonl nor corpus.jsonl.gz");
    assertThatThrownBy(() -> BeirSuite.of(List.of(dir.resolve("none"))))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("is not a directory");
    assertThatThrownBy(() -> BeirSuite.in(dir.resolve("none")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("none: cannot be listed");
    assertThatThrownBy(() -> BeirSuite.of(List.of(collection("a/x"), collection("b/x"))))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("two collections are called x");
  }

  /** Each part a folder of one file of any name, judgements without a score. */
  @Test
  void readsNanoBeirsLayout() {
    Path plain = collection("plain");
    BeirFolder nano = new BeirFolder(dir.resolve("nano"));
    Map<String, String> parts = new LinkedHashMap<>();
    parts.put("corpus/train-00000-of-00001.jsonl", BeirFolder.CORPUS);
    parts.put("queries/train-00000-of-00001.jsonl", BeirFolder.QUERIES);
    parts.put(
        "qrels/train-00000-of-00001.jsonl",
        """
        {"query-id": "q1", "corpus-id": "d1"}
        {"query-id": "q1", "corpus-id": "d4"}
        """);
    parts.forEach(nano::write);
    for (String file : List.of("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")) {
      delete(nano.path().resolve(file));
    }

    BeirDataset dataset = BeirDataset.open(nano.path(), "test");
    assertThat(dataset.qrels().grades("q1")).isEqualTo(Map.of("d1", 1, "d4", 1));
    assertThat(dataset.queries()).containsOnlyKeys("q1");
    assertThat(dataset.summary()).isEqualTo(BeirDataset.open(plain, "test").summary());
    assertThat(
            BeirEvaluator.of(dataset)
                .evaluate("bm25", new Bm25Search(Bm25Options.DEFAULT))
                .mean(Metric.recall(10)))
        .isEqualTo(1);

    nano.zip("qrels/train-00000-of-00001.jsonl");
    assertThat(BeirDataset.open(nano.path(), "test").qrels().size()).isEqualTo(2);
    delete(nano.path().resolve("qrels/train-00000-of-00001.jsonl.gz"));
    nano.write("qrels/judged.tsv", "query-id\tcorpus-id\nq2\td3\n");
    assertThat(BeirDataset.open(nano.path(), "test").qrels().grades("q2"))
        .isEqualTo(Map.of("d3", 1));
    nano.write("qrels/more.tsv", "query-id\tcorpus-id\nq2\td3\n");
    assertThatThrownBy(() -> BeirDataset.open(nano.path(), "test"))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("qrels: has 2 files of JSONL or TSV; expected one");
    delete(nano.path().resolve("queries/train-00000-of-00001.jsonl"));
    delete(nano.path().resolve("qrels/more.tsv"));
    nano.write("queries/train-00000-of-00001.parquet", "PAR1");
    assertThatThrownBy(() -> BeirDataset.open(nano.path(), "test"))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("queries: has 0 files of JSONL or TSV")
        .hasMessageContaining("Parquet is not read");
    nano.write("queries/q.jsonl", BeirFolder.QUERIES)
        .write("qrels/judged.tsv", "query-id\tcorpus-id\nq2\td3\nq2\n");
    assertThatThrownBy(() -> BeirDataset.open(nano.path(), "test"))
        .hasMessageContaining("judged.tsv:3: has 1 fields; expected query-id and corpus-id");
    nano.write("qrels/judged.tsv", "{\"query-id\": \"q2\", \"corpus-id\": \"d3\", \"score\": 0.5}");
    assertThatThrownBy(() -> BeirDataset.open(nano.path(), "test"))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("judged.tsv:1: key 'score'");
  }

  private static void delete(Path file) {
    try {
      Files.delete(file);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }
}
