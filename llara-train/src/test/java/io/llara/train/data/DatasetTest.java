package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.retrieval.Corpus;
import io.llara.testing.Stories;
import io.llara.tokenize.Tokenizer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DatasetTest {
  private static final String PAIR = DataFiles.pair("The text.", "The self words.", "Next, of it!");
  private static final String THREE_SENTENCES =
      "The little dog ran to the big tree.\nHe saw a red ball on the grass. The sun was very hot.";

  private static Tokenizer tokenizer;

  @TempDir Path dir;

  @BeforeAll
  static void load() {
    tokenizer = Tokenizer.load(Stories.dir());
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  private static Dataset<TrainingText> source(Path... files) {
    return source(Optional.of(StopWords.english()), false, files);
  }

  private static Dataset<TrainingText> source(
      Optional<StopWords> stopWords, boolean plain, Path... files) {
    return Dataset.ofTexts(
        List.of(files),
        new TextFormat(Optional.of(new PassageSplitter(tokenizer, 16)), stopWords, plain));
  }

  @Test
  void readsPairsAndStripsTheirTargets() throws IOException {
    Path file = DataFiles.write(dir.resolve("a.jsonl"), PAIR);

    assertThat(DataFiles.readAll(DataFiles.texts(file)))
        .containsExactly(new TrainingText("The text.", "self words", "Next", file + ":1"));
    assertThat(DataFiles.readAll(source(Optional.empty(), false, file)))
        .containsExactly(
            new TrainingText("The text.", "The self words.", "Next, of it!", file + ":1"));
    assertThat(DataFiles.readAll(source(Optional.of(StopWords.none()), false, file)))
        .containsExactly(
            new TrainingText("The text.", "The self words", "Next of it", file + ":1"));
    assertThat(DataFiles.readAll(source(Optional.empty(), true, file)))
        .containsExactly(new TrainingText("The text.", "", "", file + ":1"));
  }

  @Test
  void pairsOfADocumentAreItsPassagesAndTheirNext() throws IOException {
    Path file = DataFiles.write(dir.resolve("a.jsonl"), DataFiles.document("1", THREE_SENTENCES));

    assertThat(DataFiles.readAll(source(file)))
        .containsExactly(
            new TrainingText(
                "The little dog ran to the big tree.",
                "little dog ran big tree",
                "saw red ball grass",
                file + ":1 passage 1"),
            new TrainingText(
                "He saw a red ball on the grass.",
                "saw red ball grass",
                "sun hot",
                file + ":1 passage 2"));
    assertThat(DataFiles.readAll(source(Optional.empty(), true, file)))
        .containsExactly(
            new TrainingText("The little dog ran to the big tree.", "", "", file + ":1 passage 1"),
            new TrainingText("He saw a red ball on the grass.", "", "", file + ":1 passage 2"),
            new TrainingText("The sun was very hot.", "", "", file + ":1 passage 3"));
  }

  @Test
  void mixesFormsAndFilesInOrderAndCounts() throws IOException {
    Path first =
        DataFiles.write(
            dir.resolve("a.jsonl"), PAIR, DataFiles.document("1", "Too short for a pair."));
    Path second =
        DataFiles.write(
            dir.resolve("b.jsonl.gz"), DataFiles.document("2", THREE_SENTENCES), PAIR, PAIR);
    Dataset<TrainingText> source = source(first, second);

    List<TrainingText> texts = DataFiles.readAll(source);

    assertThat(texts.stream().map(TrainingText::origin))
        .containsExactly(
            first + ":1",
            second + ":1 passage 1",
            second + ":1 passage 2",
            second + ":2",
            second + ":3");
    assertThat(source.count()).isEqualTo(new DataStatistics(5, 5, 0, 1, 0));
    assertThat(DataFiles.readAll(source)).isEqualTo(texts);
    source.requireExamples();
  }

  @Test
  void refusesTheFirstBadLineNamingIt() throws IOException {
    Path file = DataFiles.write(dir.resolve("a.jsonl"), PAIR, "{\"text\": 3}", PAIR);
    try (DatasetReader<TrainingText> stream = source(file).open()) {
      stream.next();
      assertThatThrownBy(stream::next)
          .isInstanceOf(LlaraException.class)
          .hasMessage(file + ":2: key 'text' is 3; expected a string");
      assertThat(stream.statistics()).isEqualTo(new DataStatistics(2, 1, 1, 0, 0));
    }
  }

  @Test
  void skipsBadLinesAndCountsThem() throws IOException {
    ByteArrayOutputStream lines = new ByteArrayOutputStream();
    for (int i = 0; i < 30; i++) {
      lines.writeBytes((i % 2 == 0 ? PAIR + "\n" : "no JSON\n").getBytes(StandardCharsets.UTF_8));
    }
    lines.writeBytes(new byte[] {'"', (byte) 0xFF, '"', '\n', '\n'});
    lines.writeBytes(PAIR.getBytes(StandardCharsets.UTF_8));
    Path file = Files.write(dir.resolve("a.jsonl"), lines.toByteArray());
    Dataset<TrainingText> source = source(file).badLines(BadLines.SKIP);

    List<TrainingText> texts = DataFiles.readAll(source);

    assertThat(texts).hasSize(16);
    assertThat(texts.get(15).origin()).isEqualTo(file + ":33");
    assertThat(source.count()).isEqualTo(new DataStatistics(33, 16, 17, 0, 0));
  }

  @Test
  void oneFileWorksForEvaluationAndForTrainingWhateverItsName() throws IOException {
    byte[] plain =
        (DataFiles.document("1", THREE_SENTENCES) + "\n")
            .replace("\"id\"", "\"_id\"")
            .getBytes(StandardCharsets.UTF_8);
    for (byte[] bytes : List.of(plain, DataFiles.packed(plain))) {
      for (String name : List.of("corpus.jsonl", "corpus.jsonl.gz")) {
        Path file = Files.write(dir.resolve(name), bytes);
        assertThat(Corpus.of(file).summarize().documents()).isEqualTo(1);
        assertThat(DataFiles.readAll(source(file))).hasSize(2);
      }
    }
  }

  @Test
  void aGzipFileCutOffIsRefusedEvenWhenBadLinesAreSkipped() throws IOException {
    byte[] whole = DataFiles.packed((PAIR + "\n").repeat(2000).getBytes(StandardCharsets.UTF_8));
    Path file = Files.write(dir.resolve("a.jsonl.gz"), Arrays.copyOf(whole, whole.length - 20));
    Dataset<TrainingText> source = source(file).badLines(BadLines.SKIP);

    assertThatThrownBy(source::count)
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(file + ": cannot be read after line ")
        .hasMessageContaining("not whole");
  }

  @Test
  void saysWhyThereIsNothingToTrainOn() throws IOException {
    Path empty = DataFiles.write(dir.resolve("empty.jsonl.gz"));
    Files.write(empty, DataFiles.packed(new byte[0]));
    Path short2 =
        DataFiles.write(
            dir.resolve("short.jsonl"),
            DataFiles.document("1", "A cat."),
            DataFiles.document("2", "A dog."),
            "{}");

    assertThatThrownBy(() -> source(empty).requireExamples())
        .isInstanceOf(LlaraException.class)
        .hasMessage(empty + ": no usable pair: there is no line in it");
    assertThatThrownBy(() -> source(short2, empty).badLines(BadLines.SKIP).requireExamples())
        .isInstanceOf(LlaraException.class)
        .hasMessage(
            "%s, %s: no usable pair in 3 lines: 1 bad, 2 too short for two passages of up to 16 tokens"
                .formatted(short2, empty));
    source(Optional.empty(), true, short2).badLines(BadLines.SKIP).requireExamples();
  }

  @Test
  void saysWhenThePartThatIsWantedIsEmpty() throws IOException {
    Path file = DataFiles.pairs(dir.resolve("a.jsonl"), 3);

    assertThatThrownBy(() -> source(file).heldOut(1e-9, true).requireExamples())
        .hasMessage(file + ": no usable pair in 3 lines: 3 for training, none held out");
    assertThatThrownBy(() -> source(file).heldOut(1 - 1e-9, false).requireExamples())
        .hasMessage(file + ": no usable pair in 3 lines: 3 held out");
  }

  @Test
  void partsAreDisjointAndComplete() throws IOException {
    Path file = DataFiles.pairs(dir.resolve("a.jsonl"), 1000);

    List<String> training = DataFiles.texts(DataFiles.readAll(source(file).heldOut(0.2, false)));
    List<String> heldOut = DataFiles.texts(DataFiles.readAll(source(file).heldOut(0.2, true)));

    assertThat(training).doesNotContainAnyElementsOf(heldOut).hasSize(1000 - heldOut.size());
    assertThat(heldOut).hasSizeBetween(140, 260);
    assertThat(source(file).heldOut(0.2, true).count().otherPart()).isEqualTo(training.size());
    assertThat(DataFiles.readAll(source(file).heldOut(0, false))).hasSize(1000);
  }

  @Test
  void allPassagesOfADocumentFallOnOneSide() throws IOException {
    String[] lines = new String[60];
    for (int i = 0; i < lines.length; i++) {
      lines[i] = DataFiles.document("d" + i, THREE_SENTENCES + "\nThe end of number " + i + ".");
    }
    Path file = DataFiles.write(dir.resolve("a.jsonl"), lines);

    List<String> sides = new ArrayList<>();
    for (boolean heldOut : new boolean[] {false, true}) {
      List<TrainingText> texts = DataFiles.readAll(source(file).heldOut(0.5, heldOut));
      List<String> documents =
          texts.stream()
              .map(text -> text.origin().replaceAll(" passage.*", ""))
              .distinct()
              .toList();
      assertThat(texts).isNotEmpty().hasSize(documents.size() * 3);
      sides.addAll(documents);
    }
    assertThat(sides).doesNotHaveDuplicates().hasSize(60);
  }

  @Test
  void documentsNeedASplitterAndPairsDoNot() throws IOException {
    Path file = DataFiles.write(dir.resolve("a.jsonl"), PAIR, DataFiles.document("1", "A. B."));
    try (DatasetReader<TrainingText> stream = DataFiles.texts(file).open()) {
      assertThat(stream.next().text()).isEqualTo("The text.");
      assertThatThrownBy(stream::hasNext)
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("no splitter");
    }
  }

  @Test
  void wrongSettingsAreNamed() throws IOException {
    Path missing = dir.resolve("missing.jsonl");
    Path file = DataFiles.write(dir.resolve("a.jsonl"), PAIR);

    assertThatThrownBy(() -> Dataset.ofPairs(List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no data file");
    assertThatThrownBy(() -> new PassageSplitter(tokenizer, 7))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("up to 7 tokens");
    assertThatThrownBy(() -> source(file).heldOut(Double.NaN, true))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("NaN");
    for (double fraction : new double[] {-0.1, 1, Double.POSITIVE_INFINITY}) {
      assertThatThrownBy(() -> source(file).heldOut(fraction, false))
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(() -> source(file).heldOut(0, true))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> source(file, missing, dir))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(missing + ": no such file")
        .hasMessageContaining(dir + ": not a regular file");
  }

  @Test
  void foldersStandForTheFilesInThem() throws IOException {
    Files.createDirectories(dir.resolve("wiki/b"));
    Path first = DataFiles.write(dir.resolve("wiki/a.jsonl.gz"), DataFiles.pair("1", "", ""));
    Path second = DataFiles.write(dir.resolve("wiki/b/c.jsonl"), DataFiles.pair("2", "", ""));
    Path other = DataFiles.write(dir.resolve("other.txt"), DataFiles.pair("3", "", ""));
    DataFiles.write(dir.resolve("wiki/.hidden.jsonl"), "x");
    DataFiles.write(dir.resolve("wiki/readme.txt"), "x");

    List<Path> files = Dataset.filesIn(List.of(dir.resolve("wiki"), other));

    assertThat(files).containsExactly(first, second, other);
    assertThat(DataFiles.texts(DataFiles.readAll(DataFiles.texts(files.toArray(Path[]::new)))))
        .containsExactly("1", "2", "3");
    Path empty = Files.createDirectory(dir.resolve("empty"));
    assertThatThrownBy(() -> Dataset.filesIn(List.of(empty)))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(empty + ": contains no file whose name ends in .jsonl");
  }

  @Test
  void readsTheTableOfDpr() throws IOException {
    Path file =
        DataFiles.write(
            dir.resolve("psgs_w100.tsv"),
            "id\ttext\ttitle",
            "1\t\"Aaron \"\"the\"\" prophet.\"\tAaron",
            "2\tIn order.\t\"A title\"",
            "3\ttorn");
    Dataset<TrainingText> texts =
        Dataset.ofTexts(
            List.of(file),
            new TextFormat(
                Optional.of(new PassageSplitter(String::length, 1000)), Optional.empty(), true));
    assertThatThrownBy(() -> DataFiles.readAll(texts))
        .isInstanceOf(LlaraException.class)
        .hasMessage(file + ":4: has 2 fields; expected id, text and title, separated by tabs");
    try (DatasetReader<TrainingText> reader = texts.badLines(BadLines.SKIP).open()) {
      assertThat(reader.next())
          .isEqualTo(new TrainingText("Aaron \"the\" prophet.", "", "", file + ":2 passage 1"));
      assertThat(reader.next().text()).isEqualTo("In order.");
      assertThat(reader.hasNext()).isFalse();
      assertThat(reader.statistics()).isEqualTo(new DataStatistics(4, 2, 1, 0, 0));
    }
  }

  @Test
  void aFileThatIsGoneLaterIsNamed() throws IOException {
    Path file = DataFiles.write(dir.resolve("a.jsonl"), PAIR);
    Dataset<TrainingText> source = source(file);
    Files.delete(file);

    assertThatThrownBy(source::count)
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(file + ": cannot be read: no such file");
  }

  @Test
  void streamEndsAndCloses() throws IOException {
    DatasetReader<TrainingText> stream =
        source(DataFiles.write(dir.resolve("a.jsonl"), PAIR)).open();
    stream.next();

    assertThat(stream.hasNext()).isFalse();
    assertThatThrownBy(stream::next).isInstanceOf(NoSuchElementException.class);
    stream.close();
    stream.close();
    assertThatThrownBy(stream::hasNext).isInstanceOf(IllegalStateException.class);
  }
}
