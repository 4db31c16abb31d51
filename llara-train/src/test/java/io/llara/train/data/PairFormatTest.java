package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PairFormatTest {
  private static final String PAIR = "{\"query\":\"Why?\",\"pos\":[\"So.\"],\"neg\":[\"No.\"]}";

  @TempDir Path dir;

  private static Dataset<TrainingPair> source(Path... files) {
    return Dataset.ofPairs(List.of(files));
  }

  @Test
  void readsPairsAndPassesOverOtherKeys() throws IOException {
    Path first =
        DataFiles.write(
            dir.resolve("a.jsonl"),
            PAIR,
            "{\"id\":7,\"query\":\"q\",\"pos\":[\"a\",\"b\"],\"pos_scores\":[1,2.5],"
                + "\"neg_scores\":null,\"prompt\":\"p\",\"type\":{\"x\":[]}}",
            "{\"neg\":[],\"pos\":[\"a\"],\"query\":\"q\"}");
    Path second =
        DataFiles.write(
            dir.resolve("b.jsonl.gz"), "{\"query\":\"q\",\"pos\":[\"a\"],\"neg\":null}");

    Dataset<TrainingPair> source = source(first, second);

    assertThat(DataFiles.readAll(source))
        .containsExactly(
            new TrainingPair("Why?", List.of("So."), List.of("No."), first + ":1"),
            new TrainingPair("q", List.of("a", "b"), List.of(), first + ":2"),
            new TrainingPair("q", List.of("a"), List.of(), first + ":3"),
            new TrainingPair("q", List.of("a"), List.of(), second + ":1"));
    assertThat(source.count()).isEqualTo(new DataStatistics(4, 4, 0, 0, 0));
    source.requireExamples();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "'' | is blank; expected a JSON object",
        "[] | holds a list; expected a JSON object",
        "{\"query\":\"q\",\"pos\":[\"a\"] | is not valid JSON",
        "{\"query\":\"q\",\"pos\":[\"a\",]} | is not valid JSON",
        "{'query':\"q\",\"pos\":[\"a\"]} | is not valid JSON",
        "{\"pos\":[\"a\"]} | key 'query' is missing",
        "{\"query\":\" \",\"pos\":[\"a\"]} | key 'query' is blank",
        "{\"query\":3,\"pos\":[\"a\"]} | key 'query' is 3; expected a string",
        "{\"query\":null,\"pos\":[\"a\"]} | key 'query' is missing; expected a string",
        "{\"query\":\"q\",\"query\":\"q\",\"pos\":[\"a\"]} | the key 'query' occurs twice",
        "{\"query\":\"q\"} | key 'pos' is missing; expected a list of passages",
        "{\"query\":\"q\",\"pos\":[]} | key 'pos' is an empty list; expected at least one passage",
        "{\"query\":\"q\",\"pos\":\"a\"} | key 'pos' is the string 'a'; expected a list",
        "{\"query\":\"q\",\"pos\":null} | key 'pos' is missing; expected a list",
        "{\"query\":\"q\",\"pos\":[\"a\",\"\"]} | key 'pos[1]' is blank",
        "{\"query\":\"q\",\"pos\":[\"a\"],\"neg\":[\"b\",1]} | key 'neg[1]' is 1; expected",
        "{\"query\":\"q\",\"pos\":[\"a\"],\"neg\":{}} | key 'neg' is an object; expected a list",
        "{\"query\":\"q\",\"pos\":[\"\\ud800\"]} | half of a surrogate pair",
        "{\"input\":\"t\",\"output_summarize\":\"\",\"output_predict\":\"\"} | key 'query' is missing",
      })
  void refusesWhatIsNoPair(String line, String reason) throws IOException {
    Path file = DataFiles.write(dir.resolve("a.jsonl"), PAIR, line, PAIR);
    try (DatasetReader<TrainingPair> stream = source(file).open()) {
      stream.next();
      assertThatThrownBy(stream::next)
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining(file + ":2: ")
          .hasMessageContaining(reason);
    }
    assertThat(source(file).badLines(BadLines.SKIP).count())
        .isEqualTo(new DataStatistics(3, 2, 1, 0, 0));
  }

  @Test
  void aLineWithTooFewNegativesIsABadOne() throws IOException {
    Path file = DataFiles.write(dir.resolve("a.jsonl"), "{\"query\":\"q\",\"pos\":[\"a\"]}", PAIR);
    assertThatThrownBy(() -> Dataset.ofPairs(List.of(file), 1).count())
        .isInstanceOf(LlaraException.class)
        .hasMessage(file + ":1: key 'neg' is a list of 0 passages; expected at least 1");
    Dataset<TrainingPair> skipping = Dataset.ofPairs(List.of(file), 2).badLines(BadLines.SKIP);
    assertThat(skipping.count()).isEqualTo(new DataStatistics(2, 0, 2, 0, 0));
    assertThatThrownBy(skipping::requireExamples)
        .hasMessage(file + ": no usable pair in 2 lines: 2 bad");
    assertThatThrownBy(() -> Dataset.ofPairs(List.of(file), -1))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void partsAreDisjointByQuery() throws IOException {
    String[] lines = new String[1000];
    for (int i = 0; i < lines.length; i++) {
      // Each query twice.
      lines[i] = "{\"query\":\"query %d\",\"pos\":[\"p%d\"]}".formatted(i / 2, i);
    }
    Path file = DataFiles.write(dir.resolve("a.jsonl"), lines);

    List<String> training = queries(source(file).heldOut(0.2, false));
    List<String> heldOut = queries(source(file).heldOut(0.2, true));

    assertThat(training).doesNotContainAnyElementsOf(heldOut).hasSize(1000 - heldOut.size());
    assertThat(heldOut).hasSizeBetween(120, 280);
    assertThat(source(file).heldOut(0.2, true).count().otherPart()).isEqualTo(training.size());
    assertThatThrownBy(() -> source(file).heldOut(1e-9, true).requireExamples())
        .hasMessage(file + ": no usable pair in 1000 lines: 1000 for training, none held out");
  }

  private static List<String> queries(Dataset<TrainingPair> source) {
    return DataFiles.readAll(source).stream().map(TrainingPair::query).toList();
  }

  @Test
  void pairsAreShuffledAsTextsAre() throws IOException {
    Path file = dir.resolve("a.jsonl");
    String[] lines = new String[10];
    for (int i = 0; i < lines.length; i++) {
      lines[i] = "{\"query\":\"text %d\",\"pos\":[\"p\"]}".formatted(i);
    }
    DataFiles.write(file, lines);
    Dataset<TrainingPair> pairs = source(file);
    Dataset<TrainingText> texts = DataFiles.texts(DataFiles.pairs(dir.resolve("b.jsonl"), 10));
    try (ShuffleBuffer<TrainingPair> ours = new ShuffleBuffer<>(pairs, 4, 1);
        ShuffleBuffer<TrainingText> theirs = new ShuffleBuffer<>(texts, 4, 1)) {
      ours.skip(3);
      theirs.skip(3);
      for (int i = 0; i < 20; i++) {
        assertThat(ours.next().query()).isEqualTo(theirs.next().text());
      }
    }
  }

  @Test
  void aPairNeedsAPositive() {
    assertThatThrownBy(() -> new TrainingPair("q", List.of(), List.of("n"), "f:3"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("f:3");
  }
}
