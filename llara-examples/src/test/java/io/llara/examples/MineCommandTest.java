package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.TextModes;
import io.llara.checkpoint.LlaraJson;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.Directories;
import io.llara.testing.Stories;
import io.llara.train.data.Dataset;
import io.llara.train.data.DatasetReader;
import io.llara.train.data.TrainingPair;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MineCommandTest {
  private static final String[] ANIMALS = {"llama", "cow", "hen", "fox", "owl", "eel"};

  @TempDir private Path folder;

  private Path pairs;
  private Path out;

  @BeforeEach
  void prepare() throws IOException {
    List<String> lines = new ArrayList<>();
    for (String animal : ANIMALS) {
      lines.add(pair("What is a " + animal + "?", "A " + animal + " is an animal."));
    }
    pairs = Files.write(folder.resolve("pairs.jsonl"), lines);
    out = folder.resolve("mined.jsonl");
  }

  private static String pair(String query, String positive) {
    JsonObject json = new JsonObject();
    json.addProperty("query", query);
    JsonArray positives = new JsonArray();
    positives.add(positive);
    json.add("pos", positives);
    json.add("neg", new JsonArray());
    return json.toString();
  }

  private CommandRun mine(String... more) {
    List<String> args = new ArrayList<>(List.of("mine", "--pairs=" + pairs, "--out=" + out));
    args.addAll(List.of(more));
    return CommandRun.of(args.toArray(String[]::new));
  }

  private CommandRun mineByModel(String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "--model=" + Stories.dir(),
                "--template=" + "llara-paper",
                "--threads=1",
                "--dtype=float32",
                "--cache=" + folder.resolve("cache")));
    args.addAll(List.of(more));
    return mine(args.toArray(String[]::new));
  }

  private JsonObject report() throws IOException {
    return JsonParser.parseString(Files.readString(folder.resolve("mined.jsonl.report.json")))
        .getAsJsonObject();
  }

  @Test
  void byWordsOverThePassagesOfThePairs() throws IOException {
    CommandRun run = mine("--bm25", "--ranks=0-10", "--negatives=2", "--seed=5");
    assertThat(run.err()).contains("llara: 6 pairs with 6 different queries over 6 passages");
    assertThat(run.code()).isZero();
    JsonObject report = report();
    long mined = report.get("mined").getAsLong();
    assertThat(run.out()).isEqualTo(out + ": 6 pairs, " + mined + " negatives mined\n");
    assertThat(report.getAsJsonObject("settings").get("search").getAsString()).isEqualTo("BM25");
    assertThat(report.getAsJsonObject("settings").get("seed").getAsString()).isEqualTo("5");
    assertThat(report.getAsJsonObject("dropped").get("positive").getAsLong()).isEqualTo(6);
  }

  @Test
  void byAModelOverACollectionTwiceTheSame() throws IOException {
    Path corpus = folder.resolve("corpus.jsonl");
    List<String> documents = new ArrayList<>();
    for (int i = 0; i < 30; i++) {
      documents.add("{\"_id\": \"d" + i + "\", \"text\": \"" + "very ".repeat(i) + "big\"}");
    }
    Files.write(corpus, documents);
    String[] options = {
      "--corpus=" + corpus, "--ranks=2-20", "--negatives=3", "--relative-margin=0.01"
    };
    CommandRun first = mineByModel(options);
    assertThat(first.err()).contains("6 of 6 positives not in the collection");
    assertThat(first.code()).isZero();
    byte[] mined = Files.readAllBytes(out);
    CommandRun second = mineByModel(options);
    assertThat(Files.readAllBytes(out)).isEqualTo(mined);
    assertThat(second.out()).isEqualTo(first.out());
    try (DatasetReader<TrainingPair> stream = Dataset.ofPairs(List.of(out)).open()) {
      assertThat(stream.next().query()).isEqualTo("What is a llama?");
    }

    // All candidates of the graph are all passages: it misses none.
    List<String> graph = new ArrayList<>(List.of(options));
    graph.add("--hnsw");
    CommandRun approximate = mineByModel(graph.toArray(String[]::new));
    assertThat(approximate.err()).contains("recall against exact search: 1.0000");
    assertThat(Files.readAllBytes(out)).isEqualTo(mined);
  }

  @Test
  void modesAndLengthsAreThoseOfTheModelUnlessOthersAreGiven() throws IOException {
    Path model = Directories.copy(Stories.dir(), folder.resolve("model"));
    new LlaraJson(
            PromptTemplate.byName("llara-paper").orElseThrow(),
            true,
            OptionalInt.of(50),
            OptionalInt.of(90),
            TextModes.S2S)
        .write(model);
    List<String> options =
        List.of("--model=" + model, "--threads=1", "--dtype=float32", "--ranks=0-5", "--no-cache");
    assertThat(mine(options.toArray(String[]::new)).code()).isZero();
    JsonObject trained = report().getAsJsonObject("settings");
    assertThat(trained.get("queries as").getAsString()).isEqualTo("SELF");
    assertThat(trained.get("passages as").getAsString()).isEqualTo("SELF");
    assertThat(trained.get("query max tokens").getAsString()).isEqualTo("50");
    assertThat(trained.get("passage max tokens").getAsString()).isEqualTo("90");
    List<String> others = new ArrayList<>(options);
    others.add("--modes=n2n");
    assertThat(mine(others.toArray(String[]::new)).code()).isZero();
    JsonObject given = report().getAsJsonObject("settings");
    assertThat(given.get("queries as").getAsString()).isEqualTo("NEXT");
    assertThat(given.get("passages as").getAsString()).isEqualTo("NEXT");
  }

  @Test
  void everyOptionReachesTheMiner() throws IOException {
    CommandRun run =
        mineByModel(
            "--query-mode=self",
            "--passage-mode=next",
            "--query-max-tokens=40",
            "--passage-max-tokens=60",
            "--ranks=1-5",
            "--margin=0.001",
            "--min-score=-0.5",
            "--max-score=0.99",
            "--sample=top",
            "--negatives=4",
            "--keep-negatives",
            "--skip-bad-lines",
            "--no-cache");
    assertThat(run.err()).doesNotContain("Exception");
    assertThat(run.code()).isZero();
    JsonObject settings = report().getAsJsonObject("settings");
    assertThat(settings.get("queries as").getAsString()).isEqualTo("SELF");
    assertThat(settings.get("passages as").getAsString()).isEqualTo("NEXT");
    assertThat(settings.get("query max tokens").getAsString()).isEqualTo("40");
    assertThat(settings.get("passage max tokens").getAsString()).isEqualTo("60");
    assertThat(settings.get("ranks").getAsString()).isEqualTo("1-5");
    assertThat(settings.get("margin").getAsString()).isEqualTo("0.001");
    assertThat(settings.get("least score").getAsString()).isEqualTo("-0.5");
    assertThat(settings.get("greatest score").getAsString()).isEqualTo("0.99");
    assertThat(settings.get("sampling").getAsString()).isEqualTo("top");
    assertThat(settings.get("negatives").getAsString()).isEqualTo("4");
    assertThat(settings.get("keep negatives").getAsString()).isEqualTo("true");
    assertThat(folder.resolve("cache")).doesNotExist();
  }

  @Test
  void theSearcherMayBeNamed() throws IOException {
    assertThat(mine("--searcher=bm25", "--ranks=0-10").code()).isZero();
    assertThat(report().getAsJsonObject("settings").get("search").getAsString()).isEqualTo("BM25");
    assertThat(mineByModel("--searcher=hybrid", "--ranks=0-10", "--relative-margin=0.1").code())
        .isZero();
    assertThat(report().getAsJsonObject("settings").get("search").getAsString())
        .isEqualTo("hybrid");
    LlaraTest.assertRefused(mine("--searcher=hybrid"), "give --bm25 or --model DIR");
    LlaraTest.assertRefused(mine("--searcher=bm25", "--model=x"), "exclude each other");
    LlaraTest.assertRefused(mine("--searcher=bm25", "--bm25"), "exclude each other");
  }

  @Test
  void showsProgressOnlyWhenAsked() {
    assertThat(mineByModel("--ranks=0-5", "--progress").err())
        .contains("encoding")
        .contains("searching")
        .contains("writing")
        .contains("100%");
    assertThat(mine("--bm25", "--ranks=0-5").err()).doesNotContain("%");
  }

  @Test
  void refusesInOneLineAndLeavesWhatWasThere() throws IOException {
    Files.writeString(out, "old");
    LlaraTest.assertRefused(mine(), "give --bm25 or --model DIR");
    LlaraTest.assertRefused(mine("--bm25", "--model=x"), "exclude each other");
    LlaraTest.assertRefused(mine("--bm25", "--hnsw"), "--hnsw is for --model");
    LlaraTest.assertRefused(mine("--bm25", "--adapter=x"), "--adapter is for --model");
    LlaraTest.assertRefused(mine("--bm25", "--ranks=10"), "expected two ranks as in 10-200");
    LlaraTest.assertRefused(mine("--bm25", "--ranks=9-9"), "the ranks are from 9 to below 9");
    LlaraTest.assertRefused(mine("--bm25", "--ranks=6-9"), "holds 6 passages");
    LlaraTest.assertRefused(mine("--bm25", "--relative-margin=95"), "expected from 0 to 1");
    LlaraTest.assertRefused(mine("--bm25", "--negatives=0"), "expected 1 or more");
    LlaraTest.assertRefused(mine("--bm25", "--sample=worst"), "--sample");
    LlaraTest.assertRefused(mine("--bm25", "--corpus=nowhere"), "nowhere");
    LlaraTest.assertRefused(mine("--model=nowhere"), "nowhere");
    LlaraTest.assertRefused(mine("--bm25", "--out=" + pairs), "--out");
    LlaraTest.assertRefused(
        CommandRun.of("mine", "--bm25", "--pairs=" + pairs, "--out=" + pairs),
        "is also what --pairs reads");
    LlaraTest.assertRefused(
        CommandRun.of("mine", "--bm25", "--pairs=nowhere", "--out=" + out), "nowhere");
    Path twice =
        Files.writeString(
            folder.resolve("twice.jsonl"),
            "{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\": \"a\", \"text\": \"y\"}\n");
    LlaraTest.assertRefused(
        mine("--bm25", "--corpus=" + twice), ":2: repeats the id 'a' of line 1");
    Files.writeString(pairs, "{\"query\": \"q\", \"pos\": []}");
    LlaraTest.assertRefused(mine("--bm25"), "pairs.jsonl:1");
    assertThat(Files.readString(out)).isEqualTo("old");
  }
}
