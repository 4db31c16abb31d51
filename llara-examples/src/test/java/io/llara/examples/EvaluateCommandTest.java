package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.retrieval.eval.Metric;
import io.llara.retrieval.eval.Run;
import io.llara.testing.Stories;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvaluateCommandTest {
  private static final String CORPUS =
      """
      {"_id": "a", "title": "Llamas", "text": "They live high up."}
      {"_id": "b", "title": "", "text": " "}
      {"_id": "c", "text": "A lighthouse warns ships."}
      {"_id": "d", "title": "Dough", "text": "It must rest."}
      """;

  private static final String QUERIES =
      """
      {"_id": "q1", "text": "where do llamas live"}
      {"_id": "q2", "text": "resting dough"}
      """;

  private static final String QRELS =
      """
      query-id\tcorpus-id\tscore
      q1\ta\t2
      q2\td\t1
      q2\tc\t0
      """;

  private static final String SKIPPED =
      "llara: small: skipped documents with neither title nor text: 1 (b)\n";

  @TempDir private Path parent;

  private Path beir;

  @BeforeEach
  void writeCollection() throws IOException {
    beir = parent.resolve("small");
    write("corpus.jsonl", CORPUS);
    write("queries.jsonl", QUERIES);
    write("qrels/test.tsv", QRELS);
  }

  @Test
  void printsATableOfBm25() {
    CommandRun run = evaluate("--bm25-only", "--cutoffs=1,10");
    assertThat(run.code()).isZero();
    assertThat(run.err()).isEqualTo(SKIPPED);
    assertThat(run.out())
        .isEqualTo(
            """
            small, test: 2 queries, 3 documents

                           bm25
            ndcg@1       1.0000
            ndcg@10      1.0000
            map          1.0000
            recall@1     1.0000
            recall@10    1.0000
            mrr@1        1.0000
            mrr@10       1.0000
            p@1          1.0000
            p@10         0.1000
            """);
  }

  @Test
  void takesTheFilesOfMsMarcoAndALevel() throws IOException {
    write("collection.tsv", "a\tLlamas live high up.\nc\tA lighthouse.\nd\tDough must rest.\n");
    write("queries.tsv", "q1\twhere do llamas live\nq2\tresting dough\n");
    write("qrels.trec", "q1\t0\ta\t2\nq2 0 d 1\n");
    Path json = parent.resolve("report.json");
    CommandRun run =
        CommandRun.of(
            "evaluate",
            "--corpus=" + beir.resolve("collection.tsv"),
            "--queries=" + beir.resolve("queries.tsv"),
            "--qrels=" + beir.resolve("qrels.trec"),
            "--bm25-only",
            "--cutoffs=10",
            "--relevance-level=2",
            "--json=" + json);
    assertThat(run.err()).isEmpty();
    assertThat(run.code()).isZero();
    assertThat(run.out())
        .isEqualTo(
            """
            qrels.trec: 2 queries, 3 documents

                           bm25
            ndcg@10      1.0000
            map          0.5000
            recall@10    0.5000
            mrr@10       0.5000
            p@10         0.0500
            """);
    JsonObject report = JsonParser.parseString(Files.readString(json)).getAsJsonObject();
    assertThat(report.get("relevance_level").getAsInt()).isEqualTo(2);
    assertThat(CommandRun.of("evaluate", "--qrels=x").err())
        .contains("give --beir DIR, or --corpus FILE, --queries FILE and --qrels FILE");
  }

  @Test
  void severalCollectionsHaveARowEachAndAMean() throws IOException {
    Path suite = parent.resolve("suite");
    for (String name : List.of("cqadupstack/android", "cqadupstack/english", "small")) {
      Path folder = suite.resolve(name);
      Files.createDirectories(folder.resolve("qrels"));
      for (String file : List.of("corpus.jsonl", "queries.jsonl")) {
        Files.copy(beir.resolve(file), folder.resolve(file));
      }
      // Of the second query only, in one of them, the wrong document.
      Files.writeString(
          folder.resolve("qrels/test.tsv"),
          name.endsWith("english") ? QRELS.replace("q2\td\t1", "q2\ta\t1") : QRELS);
    }
    Path json = parent.resolve("report.json");
    Path runFile = parent.resolve("found.txt");
    CommandRun run =
        CommandRun.of(
            "evaluate",
            "--suite=" + suite,
            "--bm25-only",
            "--cutoffs=1,10",
            "--json=" + json,
            "--run=" + runFile);
    assertThat(run.code()).as(run.err()).isZero();
    assertThat(run.out())
        .isEqualTo(
            """
            bm25                  ndcg@10     map recall@10  mrr@10
            cqadupstack/android    1.0000  1.0000    1.0000  1.0000
            cqadupstack/english    0.5000  0.5000    0.5000  0.5000
            cqadupstack, mean      0.7500  0.7500    0.7500  0.7500
            small                  1.0000  1.0000    1.0000  1.0000
            mean of 2              0.8750  0.8750    0.8750  0.8750

            split test; the mean counts each collection once
            """);
    JsonObject report = JsonParser.parseString(Files.readString(json)).getAsJsonObject();
    assertThat(report.keySet()).containsExactly("collections", "means");
    assertThat(report.getAsJsonArray("collections")).hasSize(3);
    JsonObject mean = report.getAsJsonArray("means").get(0).getAsJsonObject();
    assertThat(mean.get("name").getAsString()).isEqualTo("bm25");
    assertThat(mean.getAsJsonObject("metrics").get("ndcg@10").getAsDouble()).isEqualTo(0.875);
    assertThat(parent.resolve("found.cqadupstack-english.txt")).exists();
    assertThat(parent.resolve("found.small.txt")).exists();

    CommandRun model =
        CommandRun.of(
            "evaluate",
            "--model=" + Stories.dir(),
            "--beir",
            suite.resolve("small").toString(),
            suite.resolve("cqadupstack").toString(),
            "--bm25",
            "--no-cache");
    assertThat(model.code()).as(model.err()).isZero();
    assertThat(model.lines().stream().filter(line -> line.startsWith("mean of 2"))).hasSize(2);
    LlaraTest.assertRefused(
        CommandRun.of("evaluate", "--suite=" + suite, "--beir=" + beir),
        "--suite is instead of --beir");
    LlaraTest.assertRefused(
        CommandRun.of("evaluate", "--suite=" + parent.resolve("none")), "none: cannot be listed");
  }

  @Test
  void modelComesFirstEverywhere() throws IOException {
    Path json = parent.resolve("report.json");
    Path runFile = parent.resolve("found.txt");
    CommandRun run = evaluate("--bm25", "--json=" + json, "--run=" + runFile);
    assertThat(run.code()).isZero();
    assertThat(run.err()).isEqualTo(SKIPPED);
    assertThat(run.lines().get(2)).matches(" +model +bm25");
    assertThat(run.lines().get(run.lines().size() - 1))
        .startsWith("ndcg@10, model - bm25: ")
        .contains("p = ")
        .endsWith("(randomisation test)");

    JsonObject report = JsonParser.parseString(Files.readString(json)).getAsJsonObject();
    assertThat(report.keySet()).containsExactly("dataset", "runs");
    assertThat(report.get("dataset").getAsString()).isEqualTo("small");
    List<String> names = new ArrayList<>();
    for (JsonElement element : report.getAsJsonArray("runs")) {
      JsonObject one = element.getAsJsonObject();
      assertThat(one.keySet()).containsExactly("name", "metrics");
      names.add(one.get("name").getAsString());
      assertThat(one.getAsJsonObject("metrics").keySet())
          .containsExactlyElementsOf(
              Metric.all(List.of(1, 3, 5, 10, 100)).stream().map(Metric::label).toList());
    }
    assertThat(names).containsExactly("model", "bm25");

    assertThat(Run.read(runFile).name()).isEqualTo("model");
    assertThat(Run.read(runFile).ranking("q1").documents()).hasSize(3);
    Path bm25 = parent.resolve("found.bm25.txt");
    assertThat(Run.read(bm25).name()).isEqualTo("bm25");
    assertThat(Run.read(bm25).ranking("q2").documents().get(0).id()).isEqualTo("d");
  }

  @Test
  void anySearchersStandSideBySide() throws IOException {
    Path runFile = parent.resolve("found.txt");
    CommandRun run = evaluate("--searcher=exact,hnsw,bm25,hybrid", "--run=" + runFile);
    assertThat(run.code()).isZero();
    assertThat(run.lines().get(2)).matches(" +model +hnsw +bm25 +hybrid");
    // So few passages are all candidates of the graph.
    assertThat(run.lines().get(6)).startsWith("ndcg@10").contains("1.0000");
    assertThat(run.out())
        .contains("ndcg@10, model - hnsw: +0.0000")
        .contains("ndcg@10, model - hybrid: ")
        .contains("hnsw: recall@100 against exact search 1.0000")
        .endsWith(
            "hybrid: model and bm25, reciprocal rank fusion (constant 60), weights 0.50 and"
                + " 0.50\n");
    assertThat(Run.read(parent.resolve("found.hybrid.txt")).name()).isEqualTo("hybrid");

    CommandRun weighted =
        evaluate("--searcher=hybrid", "--fusion=zscore", "--weight=0", "--no-cache", "--progress");
    assertThat(weighted.out())
        .contains("ndcg@10      1.0000")
        .endsWith("hybrid: model and bm25, sum of z-scores, weights 0.00 and 1.00\n");
    assertThat(weighted.err().split("encoding passages", -1).length).isGreaterThan(1);
    assertThat(evaluate("--searcher=bm25").out()).isEqualTo(evaluate("--bm25-only").out());
    refused("exclude each other", "--bm25-only", "--searcher=exact");
    refused("--searcher", "--searcher=magic");
    refused("the weight is 2.0", "--searcher=hybrid", "--weight=2");
  }

  @Test
  void usesItsCacheAndGivesTheSame() throws IOException {
    CommandRun first = evaluate("--progress");
    assertThat(first.err()).contains("encoding passages").contains("encoding queries");
    CommandRun second = evaluate("--progress");
    assertThat(second.err()).doesNotContain("encoding");
    assertThat(second.out()).isEqualTo(first.out());
    try (Stream<Path> files = Files.list(parent.resolve("cache"))) {
      assertThat(files).hasSize(2);
    }
    CommandRun without = evaluate("--no-cache", "--progress");
    assertThat(without.err()).contains("encoding passages");
    assertThat(without.out()).isEqualTo(first.out());
    try (Stream<Path> files = Files.list(parent.resolve("cache"))) {
      assertThat(files).hasSize(2);
    }
  }

  @Test
  void readsGzip() throws IOException {
    CommandRun plain = evaluate("--bm25-only");
    zip("corpus.jsonl");
    zip("queries.jsonl");
    zip("qrels/test.tsv");
    assertThat(evaluate("--bm25-only").out()).isEqualTo(plain.out());
  }

  @Test
  void goesOnWithUnknownIdsAndCountsThem() throws IOException {
    write("qrels/test.tsv", QRELS + "q1\tgone\t1\nq7\ta\t1\n");
    CommandRun run = evaluate("--bm25-only");
    assertThat(run.code()).isZero();
    assertThat(run.err())
        .isEqualTo(
            SKIPPED
                + "llara: small: judged documents that the corpus does not have, counted as not"
                + " found: 1 (gone)\n"
                + "llara: small: judged queries that the queries file does not have, counted as"
                + " 0: 1 (q7)\n");
    assertThat(run.out()).contains("3 queries").contains("mrr@1        0.6667");
  }

  @Test
  void saysThatAModelIsNotUsed() {
    CommandRun run = evaluate("--bm25-only", "--model=no-such-model");
    assertThat(run.code()).isZero();
    assertThat(run.err()).endsWith("llara: --bm25-only: the model is not used\n");
  }

  @Test
  void oneQueryIsTooFewForATest() throws IOException {
    write("qrels/dev.tsv", "query-id\tcorpus-id\tscore\nq1\ta\t1\n");
    assertThat(evaluate("--bm25", "--split=dev", "--cutoffs=1").out())
        .contains("small, dev: 1 queries")
        .contains("ndcg@1, model - bm25: ")
        .endsWith("one query is too few for a test\n");
  }

  @Test
  void anOutputIsNeitherAnInputNorAnotherOutput() throws IOException {
    Path corpus = beir.resolve("corpus.jsonl");
    refused("is also what --beir reads", "--bm25-only", "--run=" + corpus);
    refused("is also what --beir reads", "--bm25-only", "--json=" + beir.resolve("queries.jsonl"));
    refused("which --beir reads", "--bm25-only", "--json=" + beir.resolve("qrels/test.tsv"));
    assertThat(corpus).hasContent(CORPUS);
    Path both = parent.resolve("x");
    refused("is also what --json writes", "--bm25-only", "--json=" + both, "--run=" + both);
    refused(
        "is also what --json writes",
        "--searcher=exact,bm25",
        "--json=" + parent.resolve("run.bm25.txt"),
        "--run=" + parent.resolve("run.txt"));
    assertThat(both).doesNotExist();
  }

  @Test
  void refusesBadInputInOneLine() throws IOException {
    refused("has neither train.tsv", "--bm25-only", "--split=train");
    refused("cutoffs", "--bm25-only", "--cutoffs=0");
    refused("--cutoffs", "--bm25-only", "--cutoffs=ten");
    refused("does not exist", "--bm25-only", "--json=" + parent.resolve("none/report.json"));
    refused("is a folder", "--bm25-only", "--run=" + parent);
    write("corpus.jsonl", CORPUS + "{\"_id\": \"a\", \"text\": \"again\"}\n");
    refused("corpus.jsonl:5: repeats the id 'a' of line 1", "--bm25-only");
    write("corpus.jsonl", CORPUS + "{\"_id\": \"f\", \"text\": \"x\"");
    refused("corpus.jsonl:5: ", "--bm25-only");
    write("corpus.jsonl", CORPUS);
    write("qrels/test.tsv", "q1 a 1\n");
    refused("test.tsv:1: has 1 fields", "--bm25-only");
    LlaraTest.assertRefused(
        CommandRun.of("evaluate", "--bm25-only", "--beir=nowhere"), "nowhere: is not a directory");
  }

  private void refused(String message, String... options) {
    LlaraTest.assertRefused(evaluate(options), message);
  }

  private CommandRun evaluate(String... options) {
    List<String> args = new ArrayList<>(List.of("evaluate", "--threads=1", "--dtype=float32"));
    args.add("--cache=" + parent.resolve("cache"));
    args.add("--beir=" + beir);
    if (Stream.of(options)
        .noneMatch(option -> option.matches("--model=.*|--bm25-only|--searcher=bm25"))) {
      args.add("--model=" + Stories.dir());
    }
    args.addAll(List.of(options));
    return CommandRun.of(args.toArray(String[]::new));
  }

  private void write(String name, String content) throws IOException {
    Path file = beir.resolve(name);
    Files.createDirectories(file.getParent());
    Files.writeString(file, content);
  }

  private void zip(String name) throws IOException {
    Path plain = beir.resolve(name);
    try (OutputStream out =
        new GZIPOutputStream(Files.newOutputStream(beir.resolve(name + ".gz")))) {
      out.write(Files.readString(plain).getBytes(StandardCharsets.UTF_8));
    }
    Files.delete(plain);
  }
}
