package io.llara.train.mining;

import static io.llara.train.mining.MiningFiles.corpus;
import static io.llara.train.mining.MiningFiles.document;
import static io.llara.train.mining.MiningFiles.pair;
import static io.llara.train.mining.MiningFiles.pairs;
import static io.llara.train.mining.MiningFiles.strings;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.SearchListener;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.TextSet;
import io.llara.train.data.BadLines;
import io.llara.train.data.Dataset;
import io.llara.train.data.DatasetReader;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.MiningReport.Count;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HardNegativeMinerTest {
  @TempDir private Path folder;

  private Path file(String name) {
    return folder.resolve(name);
  }

  private static String[] documents(int count) {
    return IntStream.range(0, count)
        .mapToObj(i -> document("d" + i, "text " + i))
        .toArray(String[]::new);
  }

  private static HardNegativeMiner.Builder miner(Corpus corpus) {
    return HardNegativeMiner.builder().corpus(corpus).ranks(0, 100).sampling(Sampling.TOP);
  }

  private List<JsonObject> mined(Dataset<TrainingPair> pairs, HardNegativeMiner.Builder builder)
      throws IOException {
    Path out = file("mined.jsonl");
    builder.build().mine(pairs, new FakeSearch(), out);
    return MiningFiles.read(out);
  }

  private List<String> names() throws IOException {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void takesTheBestThatAreNoPositives() throws IOException {
    Dataset<TrainingPair> pairs =
        pairs(file("p"), pair("q", "text 1"), pair("r", "text 0", "text 2"));
    Path out = file("mined.jsonl");
    MiningReport report =
        miner(corpus(documents(9))).negatives(3).build().mine(pairs, new FakeSearch(), out);
    List<JsonObject> lines = MiningFiles.read(out);
    assertThat(lines.get(0))
        .isEqualTo(
            JsonParser.parseString(
                """
                {"query": "q", "pos": ["text 1"], "neg": ["text 0", "text 2", "text 3"],
                 "pos_ids": ["d1"], "neg_ids": ["d0", "d2", "d3"], "neg_scores": [9.0, 7.0, 6.0]}
                """));
    assertThat(strings(lines.get(1), "neg_ids")).containsExactly("d1", "d3", "d4");
    assertThat(report.count(Count.PAIRS)).isEqualTo(2);
    assertThat(report.count(Count.QUERIES)).isEqualTo(2);
    assertThat(report.count(Count.PASSAGES)).isEqualTo(9);
    assertThat(report.count(Count.FOUND)).isEqualTo(18);
    assertThat(report.dropped()).containsEntry(DropReason.POSITIVE, 3L);
    assertThat(report.count(Count.MINED)).isEqualTo(6);
    assertThat(report.count(Count.NOT_DRAWN)).isEqualTo(9);
    assertThat(report.count(Count.PAIRS_WITH_FEWER)).isZero();
    assertThat(report.count(Count.POSITIVES)).isEqualTo(3);
  }

  @Test
  void positivesOfOtherLinesWithTheQueryAreExcludedWhateverTheWhiteSpace() throws IOException {
    Dataset<TrainingPair> pairs =
        pairs(
            file("p"),
            pair("the  query", "text 1"),
            pair(" the query", "text\t2 "),
            pair("another", "text 3"));
    List<JsonObject> lines = mined(pairs, miner(corpus(documents(5))));
    assertThat(strings(lines.get(0), "neg_ids")).containsExactly("d0", "d3", "d4");
    assertThat(strings(lines.get(1), "neg_ids")).containsExactly("d0", "d3", "d4");
    assertThat(strings(lines.get(1), "pos_ids")).containsExactly("d2");
    // As it was given, not as the collection has it.
    assertThat(strings(lines.get(1), "pos")).containsExactly("text\t2 ");
    assertThat(strings(lines.get(2), "neg_ids")).containsExactly("d0", "d1", "d2", "d4");
  }

  @Test
  void aPositiveIsFoundWithItsTitleOrWithoutAndUnderAllItsIds() throws IOException {
    Corpus corpus =
        corpus(
            document("a", "Llama", "An animal."),
            document("b", "Alpaca", "An animal."),
            document("c", "", "Llama An animal."),
            document("d", "Cow", "Another animal."));
    Dataset<TrainingPair> pairs =
        pairs(file("p"), pair("q", "An animal."), pair("r", "Llama An animal."));
    Path out = file("mined.jsonl");
    MiningReport report = miner(corpus).build().mine(pairs, new FakeSearch(), out);
    List<JsonObject> lines = MiningFiles.read(out);
    assertThat(strings(lines.get(0), "neg")).containsExactly("Cow Another animal.");
    assertThat(strings(lines.get(0), "pos_ids")).containsExactly("a");
    assertThat(strings(lines.get(1), "neg_ids")).containsExactly("b", "d");
    assertThat(report.count(Count.DUPLICATE_PASSAGES)).isEqualTo(1);
    assertThat(report.dropped()).containsEntry(DropReason.POSITIVE, 5L);
  }

  @Test
  void theQueryAndRepeatedTextsAreNoNegatives() throws IOException {
    Corpus corpus =
        corpus(
            document("a", "What is a llama?"),
            document("b", "A cow."),
            document("c", "A  cow. "),
            document("d", "A hen."));
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("What is a llama?", "It is an animal."));
    Path out = file("mined.jsonl");
    MiningReport report = miner(corpus).build().mine(pairs, new FakeSearch(), out);
    assertThat(strings(MiningFiles.read(out).get(0), "neg_ids")).containsExactly("b", "d");
    assertThat(report.dropped())
        .containsEntry(DropReason.QUERY, 1L)
        .containsEntry(DropReason.DUPLICATE, 1L);
    assertThat(report.count(Count.POSITIVES_OUTSIDE)).isEqualTo(1);
    assertThat(strings(MiningFiles.read(out).get(0), "pos_ids")).containsExactly((String) null);
  }

  @Test
  void withoutACollectionItIsTheDistinctPassagesOfThePairs() throws IOException {
    Dataset<TrainingPair> pairs =
        pairs(
            file("p"),
            pair("q", List.of("one", "two"), List.of("three", " one")),
            pair("r", List.of("two "), List.of("four")));
    Path out = file("mined.jsonl");
    MiningReport report =
        HardNegativeMiner.builder()
            .ranks(0, 9)
            .sampling(Sampling.TOP)
            .build()
            .mine(pairs, new FakeSearch(), out);
    List<JsonObject> lines = MiningFiles.read(out);
    assertThat(strings(lines.get(0), "neg")).containsExactly("three", "four");
    assertThat(strings(lines.get(1), "neg")).containsExactly("one", "three", "four");
    assertThat(strings(lines.get(0), "pos_ids"))
        .containsExactly(PairTexts.key("one").toString(), PairTexts.key("two").toString());
    assertThat(report.count(Count.PASSAGES)).isEqualTo(4);
    assertThat(report.count(Count.DUPLICATE_PASSAGES)).isZero();
  }

  @Test
  void negativesThatWereThereStayInFrontIfWanted() throws IOException {
    Dataset<TrainingPair> pairs =
        pairs(file("p"), pair("q", List.of("text 0"), List.of("text 2", "other")));
    List<JsonObject> replaced = mined(pairs, miner(corpus(documents(5))).negatives(2));
    assertThat(strings(replaced.get(0), "neg")).containsExactly("text 1", "text 2");

    Path out = file("kept.jsonl");
    MiningReport report =
        miner(corpus(documents(5)))
            .negatives(2)
            .keepNegatives(true)
            .build()
            .mine(pairs, new FakeSearch(), out);
    JsonObject line = MiningFiles.read(out).get(0);
    assertThat(strings(line, "neg")).containsExactly("text 2", "other", "text 1", "text 3");
    assertThat(strings(line, "neg_ids")).containsExactly("d2", null, "d1", "d3");
    assertThat(strings(line, "neg_scores")).containsExactly(null, null, "4.0", "2.0");
    assertThat(report.dropped()).containsEntry(DropReason.ALREADY_NEGATIVE, 1L);
    assertThat(report.count(Count.KEPT)).isEqualTo(2);
    assertThat(report.count(Count.MINED)).isEqualTo(2);
  }

  @Test
  void fewerThanAskedForAreNotFilledUp() throws IOException {
    Dataset<TrainingPair> pairs =
        pairs(file("p"), pair("q", "text 0"), pair("r", "text 1", "text 2"));
    Path out = file("mined.jsonl");
    MiningReport report =
        miner(corpus(documents(3)))
            .ranks(1, 3)
            .negatives(3)
            .build()
            .mine(pairs, new FakeSearch(), out);
    List<JsonObject> lines = MiningFiles.read(out);
    assertThat(strings(lines.get(0), "neg_ids")).containsExactly("d1", "d2");
    assertThat(strings(lines.get(1), "neg_ids")).isEmpty();
    assertThat(report.count(Count.PAIRS_WITH_FEWER)).isEqualTo(2);
    assertThat(report.count(Count.PAIRS_WITHOUT_NEGATIVES)).isEqualTo(1);
  }

  @Test
  void marginsAreMeasuredFromTheWorstPositiveOfThePair() throws IOException {
    // Scores: 10 to 1.
    Dataset<TrainingPair> pairs =
        pairs(
            file("p"),
            pair("q", "text 1", "text 4"),
            pair("q", "text 2"),
            pair("r", "nowhere"),
            pair("s", "nowhere", "text 3"));
    Path out = file("mined.jsonl");
    MiningReport report =
        miner(corpus(documents(10)))
            .margin(2)
            .relativeMargin(0.5)
            .build()
            .mine(pairs, new FakeSearch(), out);
    List<JsonObject> lines = MiningFiles.read(out);
    // Of 6: at most 4 and at most 3.
    assertThat(strings(lines.get(0), "neg_ids")).containsExactly("d7", "d8", "d9");
    // Of 8: at most 6 and at most 4; the other line's positives are none of its negatives.
    assertThat(strings(lines.get(1), "neg_ids")).containsExactly("d6", "d7", "d8", "d9");
    assertThat(strings(lines.get(2), "neg_ids")).hasSize(10);
    assertThat(strings(lines.get(3), "neg_ids")).containsExactly("d7", "d8", "d9");
    assertThat(report.count(Count.POSITIVES_WITHOUT_SCORE)).isEqualTo(2);
    assertThat(report.count(Count.PAIRS_WITHOUT_MARGIN)).isEqualTo(1);
    assertThat(report.count(Count.POSITIVES_OUTSIDE)).isEqualTo(2);
    assertThat(report.dropped().get(DropReason.MARGIN)).isEqualTo(3 + 2 + 4);
    assertThat(report.dropped().get(DropReason.RELATIVE_MARGIN)).isEqualTo(1 + 1 + 2);
    assertThat(report.count(Count.FOUND))
        .isEqualTo(
            report.dropped().values().stream().mapToLong(i -> i).sum()
                + report.count(Count.MINED)
                + report.count(Count.NOT_DRAWN));
  }

  @Test
  void scoresOfPositivesAreNotAskedForWithoutMargins() throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q", "nowhere"));
    FakeSearch search =
        new FakeSearch() {
          @Override
          OptionalDouble score(Searcher.Candidate positive, int count) {
            throw new AssertionError("nobody asked");
          }
        };
    MiningReport report =
        miner(corpus(documents(2))).build().mine(pairs, search, file("mined.jsonl"));
    assertThat(report.count(Count.POSITIVES_WITHOUT_SCORE)).isZero();
    assertThat(search.closed).isTrue();
  }

  @Test
  void aDrawDependsOnTheSeedAndThePairOnly() throws IOException {
    String[] lines =
        IntStream.range(0, 20).mapToObj(i -> pair("q" + i, "text " + i)).toArray(String[]::new);
    Path first = file("1.jsonl");
    Path second = file("2.jsonl");
    Path seeded = file("3.jsonl");
    Path reversed = file("4.jsonl");
    Corpus corpus = corpus(documents(80));
    Dataset<TrainingPair> pairs = pairs(file("p"), lines);
    HardNegativeMiner.Builder builder = miner(corpus).negatives(5).sampling(Sampling.RANDOM);
    builder.build().mine(pairs, new FakeSearch(), first);
    builder.build().mine(pairs, new FakeSearch(), second);
    assertThat(first).hasSameBinaryContentAs(second);
    assertThat(MiningReport.fileBeside(first))
        .hasSameBinaryContentAs(MiningReport.fileBeside(second));
    builder.seed(7).build().mine(pairs, new FakeSearch(), seeded);
    assertThat(Files.readAllBytes(seeded)).isNotEqualTo(Files.readAllBytes(first));
    List<String> other = new ArrayList<>(Arrays.asList(lines));
    java.util.Collections.reverse(other);
    miner(corpus)
        .negatives(5)
        .sampling(Sampling.RANDOM)
        .build()
        .mine(pairs(file("o"), other.toArray(String[]::new)), new FakeSearch(), reversed);
    List<JsonObject> expected = new ArrayList<>(MiningFiles.read(first));
    java.util.Collections.reverse(expected);
    assertThat(MiningFiles.read(reversed)).isEqualTo(expected);
    // They are spread over the window, in the order of their ranks.
    assertThat(MiningFiles.read(first).stream().map(line -> strings(line, "neg_ids")).distinct())
        .hasSize(20);
  }

  @Test
  void packsAFileWhoseNameSaysSoAndIsReadAsPairs() throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q \"\n\u2028 ü 🦙", "text 0"));
    Path plain = file("mined.jsonl");
    Path packed = file("mined.jsonl.GZ");
    miner(corpus(documents(4))).build().mine(pairs, new FakeSearch(), plain);
    miner(corpus(documents(4))).build().mine(pairs, new FakeSearch(), packed);
    List<TrainingPair> read = new ArrayList<>();
    for (Path file : List.of(plain, packed)) {
      try (DatasetReader<TrainingPair> stream = Dataset.ofPairs(List.of(file)).open()) {
        stream.forEachRemaining(read::add);
      }
    }
    assertThat(read).hasSize(2);
    for (TrainingPair pair : read) {
      assertThat(pair.query()).isEqualTo("q \"\n\u2028 ü 🦙");
      assertThat(pair.positives()).containsExactly("text 0");
      assertThat(pair.negatives()).containsExactly("text 1", "text 2", "text 3");
    }
    assertThat(Files.readAllBytes(packed)).startsWith(0x1f, 0x8b);
  }

  @Test
  void theReportStandsBeside() throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q", "text 0"));
    Path out = file("mined.jsonl");
    MiningReport report =
        miner(corpus(document("blank", " "), document("x", "text 0"), document("y", "z")))
            .relativeMargin(0.25)
            .build()
            .mine(pairs, new FakeSearch(), out);
    JsonObject json =
        JsonParser.parseString(Files.readString(file("mined.jsonl.report.json"))).getAsJsonObject();
    assertThat(json.get("mined").getAsLong()).isEqualTo(report.count(Count.MINED)).isEqualTo(1);
    assertThat(json.get("blank_documents").getAsLong()).isEqualTo(1);
    assertThat(json.getAsJsonObject("dropped").get("positive").getAsLong()).isEqualTo(1);
    assertThat(json.getAsJsonObject("settings").get("relative margin").getAsString())
        .isEqualTo("0.25");
    assertThat(json.getAsJsonObject("settings").get("search").getAsString()).isEqualTo("fake");
    assertThat(report.summary())
        .contains("1 pair with 1 query over 2 passages (1 blank and left out)")
        .contains("             1 dropped: known positives of the query")
        .contains("1 pair got fewer negatives than wanted, 0 none");
  }

  @Test
  void aLowRecallIsSaidToBeLow() throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q", "text 0"));
    for (double recall : new double[] {0.25, 0.95}) {
      MiningReport report =
          miner(corpus(documents(4)))
              .build()
              .mine(pairs, new FakeSearch().withRecall(recall), file("mined.jsonl"));
      assertThat(report.recall()).hasValue(recall);
      assertThat(report.summary().stream().anyMatch(line -> line.contains("that is low")))
          .isEqualTo(recall == 0.25);
      assertThat(
              JsonParser.parseString(Files.readString(file("mined.jsonl.report.json")))
                  .getAsJsonObject()
                  .get("recall")
                  .getAsDouble())
          .isEqualTo(recall);
    }
  }

  @Test
  void badLinesAreRefusedOrCounted() throws IOException {
    Path file =
        Files.write(file("p"), List.of(pair("q", "text 0"), "{\"query\": \"r\", \"pos\": []}"));
    assertThatThrownBy(
            () ->
                miner(corpus(documents(2)))
                    .build()
                    .mine(Dataset.ofPairs(List.of(file)), new FakeSearch(), file("mined.jsonl")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(file + ":2")
        .hasMessageContaining("key 'pos' is an empty list");
    MiningReport report =
        miner(corpus(documents(2)))
            .build()
            .mine(
                Dataset.ofPairs(List.of(file)).badLines(BadLines.SKIP),
                new FakeSearch(),
                file("mined.jsonl"));
    assertThat(report.count(Count.BAD_LINES)).isEqualTo(1);
    assertThat(report.count(Count.PAIRS)).isEqualTo(1);
  }

  @Test
  void refusesACollectionItCannotUse() throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q", "text 0"));
    assertThatThrownBy(
            () ->
                miner(corpus(document("a", "x"), document("b", "y"), document("a", "z")))
                    .build()
                    .mine(pairs, new FakeSearch(), file("mined.jsonl")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(":3: repeats the id 'a' of line 1");
    for (Corpus empty : List.of(corpus(), corpus(document("a", " ")))) {
      assertThatThrownBy(
              () -> miner(empty).build().mine(pairs, new FakeSearch(), file("mined.jsonl")))
          .isInstanceOf(LlaraException.class)
          .hasMessage("the corpus: contains no document with text");
    }
    assertThatThrownBy(
            () ->
                miner(corpus(documents(20)))
                    .ranks(20, 30)
                    .build()
                    .mine(pairs, new FakeSearch(), file("mined.jsonl")))
        .isInstanceOf(LlaraException.class)
        .hasMessage(
            "the corpus: holds 20 passages, none of them at the ranks 20 to 29, the best being 0");
    assertThat(names()).containsExactly("p");
  }

  @Test
  void refusesScoresThatAreNoNumbers() throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q", "text 0"), pair("r", "text 0"));
    FakeSearch broken =
        new FakeSearch() {
          @Override
          double score(int place, int count) {
            return place == 3 ? Double.NaN : 1;
          }
        };
    assertThatThrownBy(
            () -> miner(corpus(documents(5))).build().mine(pairs, broken, file("mined.jsonl")))
        .isInstanceOf(LlaraException.class)
        .hasMessage(file("p") + ":1: the score of passage 3 is NaN; expected a number");
    FakeSearch positive =
        new FakeSearch() {
          @Override
          OptionalDouble score(Searcher.Candidate positive, int count) {
            return OptionalDouble.of(Double.NaN);
          }
        };
    assertThatThrownBy(
            () ->
                miner(corpus(documents(5)))
                    .margin(1)
                    .build()
                    .mine(pairs, positive, file("mined.jsonl")))
        .isInstanceOf(LlaraException.class)
        .hasMessage(file("p") + ":1: the score of a positive is NaN; expected a number");
    assertThat(positive.closed).isTrue();
    assertThat(names()).containsExactly("p");
  }

  @ParameterizedTest
  @ValueSource(strings = {"PAIRS", "COLLECTION", "SEARCH", "TEXTS", "WRITE"})
  void anInterruptAtAnyTimeLeavesWhatWasThere(String stage) throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q", "text 0"), pair("r", "text 1"));
    Path out = file("mined.jsonl");
    Files.writeString(out, "old");
    List<Path> temporary = temporaryFiles();
    HardNegativeMiner.Builder builder =
        miner(corpus(documents(5)))
            .listener(
                new MiningListener() {
                  @Override
                  public void progress(Stage at, long done, long total) {
                    if (at == Stage.valueOf(stage) && done == 1) {
                      Thread.currentThread().interrupt();
                    }
                  }
                });
    try {
      assertThatThrownBy(() -> builder.build().mine(pairs, new FakeSearch(), out))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("interrupt");
      assertThat(Thread.currentThread().isInterrupted()).isTrue();
    } finally {
      Thread.interrupted();
    }
    assertThat(Files.readString(out)).isEqualTo("old");
    assertThat(names()).containsExactly("mined.jsonl", "p");
    assertThat(temporaryFiles()).isEqualTo(temporary);
    // It begins anew.
    builder.listener(MiningListener.NONE).build().mine(pairs, new FakeSearch(), out);
    assertThat(MiningFiles.read(out)).hasSize(2);
    assertThat(temporaryFiles()).isEqualTo(temporary);
  }

  private static List<Path> temporaryFiles() throws IOException {
    try (Stream<Path> entries = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
      return entries
          .filter(entry -> entry.getFileName().toString().startsWith("llara-mining"))
          .sorted()
          .toList();
    }
  }

  @Test
  void inputThatChangesWhileItIsReadIsRefused() throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q", "text 0"));
    FakeSearch changing =
        new FakeSearch() {
          @Override
          public Searcher open(TextSet passages, SearchListener listener) {
            try {
              Files.writeString(file("p"), pair("q", "text 1"));
            } catch (IOException e) {
              throw new java.io.UncheckedIOException(e);
            }
            return super.open(passages, listener);
          }
        };
    assertThatThrownBy(
            () -> miner(corpus(documents(5))).build().mine(pairs, changing, file("mined.jsonl")))
        .isInstanceOf(LlaraException.class)
        .hasMessage(file("p") + ": changed while it was read");
    assertThat(names()).containsExactly("p");
  }

  @Test
  void refusesWhereItCannotWriteBeforeItBegins() throws IOException {
    Dataset<TrainingPair> pairs = pairs(file("p"), pair("q", "text 0"));
    FakeSearch search = new FakeSearch();
    HardNegativeMiner miner = miner(corpus(documents(5))).build();
    assertThatThrownBy(() -> miner.mine(pairs, search, file("none").resolve("mined.jsonl")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("its folder does not exist");
    assertThatThrownBy(() -> miner.mine(pairs, search, folder))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("is a directory");
    assertThat(search.searched).isZero();
  }

  @Test
  void namesAllSettingsThatAreWrong() {
    assertThatThrownBy(
            () ->
                HardNegativeMiner.builder()
                    .ranks(10, 10)
                    .negatives(0)
                    .leastScore(2)
                    .greatestScore(1)
                    .margin(Double.NaN)
                    .relativeMargin(95)
                    .build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("the ranks are from 10 to below 10")
        .hasMessageContaining("0 negatives are wanted")
        .hasMessageContaining("the least score 2.0 is above the greatest, 1.0")
        .hasMessageContaining("the margin is NaN")
        .hasMessageContaining("the relative margin is 95.0");
    assertThatThrownBy(
            () ->
                HardNegativeMiner.builder()
                    .ranks(-1, 3)
                    .relativeMargin(-0.1)
                    .greatestScore(Double.POSITIVE_INFINITY)
                    .build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "the ranks are from -1 to below 3; expected 0 or more, and one at least; the greatest"
                + " score is Infinity; expected a number; the relative margin is -0.1; expected"
                + " from 0 to 1");
  }
}
