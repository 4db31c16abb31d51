package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.train.data.Dataset;
import io.llara.train.data.DatasetReader;
import io.llara.train.data.TrainingPair;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PairsCommandTest {
  @TempDir private Path folder;

  private Path out;

  @BeforeEach
  void writeFiles() throws IOException {
    out = folder.resolve("pairs.jsonl");
    write("collection.tsv", "1\tA llama carries loads.\n2\tA lighthouse warns.\n3\tDough rests.\n");
    write("queries.tsv", "10\twhat carries loads\n11\twhat warns ships\n12\tnever judged\n");
    write("qrels.tsv", "11\t0\t2\t1\n10\t0\t1\t1\n10\t0\t3\t0\n");
    write("run.txt", "10 Q0 1 1 9 r\n10 Q0 2 2 8 r\n10 Q0 3 3 7 r\n11 Q0 3 1 9 r\n");
    write("triples.tsv", "q one\tp one\tn one\nq one\tp one\tn two\nq two\tp two\tn one\n");
    write("ids.tsv", "10\t1\t2\n10\t1\t3\n11\t2\t1\n");
    write(
        "tevatron.jsonl",
        """
        {"query_id": "1", "query": "q", "positive_passages": [{"docid": "7", "title": "T", "text": "p"}], "negative_passages": [{"docid": "8", "text": "n"}]}
        {"query": "r", "positive_passages": [{"title": "", "text": "p2"}], "negative_passages": []}
        """);
    write(
        "columns.jsonl",
        """
        {"anchor": "q", "positive": "p", "negative": "n"}
        {"query": "r", "positive": ["p1", "p2"], "negative_1": "n1", "negative_2": "n2", "label": 1}
        {"anchor": "s", "positive": "p"}
        """);
  }

  private void write(String name, String content) throws IOException {
    Files.writeString(folder.resolve(name), content);
  }

  private CommandRun pairs(String... options) {
    List<String> args = new ArrayList<>(List.of("pairs", "--out=" + out));
    for (String option : options) {
      args.add(option.replace("@", folder + "/"));
    }
    return CommandRun.of(args.toArray(String[]::new));
  }

  private List<String> written() {
    try (DatasetReader<TrainingPair> reader = Dataset.ofPairs(List.of(out)).open()) {
      List<String> pairs = new ArrayList<>();
      reader.forEachRemaining(
          pair -> pairs.add(pair.query() + " " + pair.positives() + " " + pair.negatives()));
      return pairs;
    }
  }

  @Test
  void ofTheFilesOfMsMarco() {
    CommandRun run =
        pairs("--corpus=@collection.tsv", "--queries=@queries.tsv", "--qrels=@qrels.tsv");
    assertThat(run.err()).isEmpty();
    assertThat(run.code()).isZero();
    assertThat(run.out()).isEqualTo(out + ": 2 pairs, 2 positives, 0 negatives\n");
    assertThat(written())
        .containsExactly(
            "what warns ships [A lighthouse warns.] []",
            "what carries loads [A llama carries loads.] []");
  }

  @Test
  void withNegativesOfARun() {
    CommandRun run =
        pairs(
            "--corpus=@collection.tsv",
            "--queries=@queries.tsv",
            "--qrels=@qrels.tsv",
            "--run=@run.txt",
            "--ranks=0-2",
            "--sample=top");
    assertThat(run.err()).isEmpty();
    assertThat(written())
        .containsExactly(
            "what warns ships [A lighthouse warns.] [Dough rests.]",
            "what carries loads [A llama carries loads.] [A lighthouse warns.]");
    assertThat(
            pairs(
                    "--corpus=@collection.tsv",
                    "--queries=@queries.tsv",
                    "--qrels=@qrels.tsv",
                    "--run=@run.txt",
                    "--ranks=0-9",
                    "--negatives=1")
                .out())
        .contains("2 negatives");
  }

  @Test
  void ofAnySplitOfABeirFolderAndByGrade() throws IOException {
    Files.createDirectories(folder.resolve("beir/qrels"));
    write(
        "beir/corpus.jsonl",
        """
        {"_id": "a", "title": "Llamas", "text": "They live high up."}
        {"_id": "b", "title": "", "text": " "}
        {"_id": "c", "text": "A lighthouse."}
        """);
    write("beir/queries.jsonl", "{\"_id\": \"q\", \"text\": \"where\"}\n");
    write("beir/qrels/dev.tsv", "query-id\tcorpus-id\tscore\nq\ta\t2\nq\tb\t1\nq\tc\t1\n");
    CommandRun dev = pairs("--beir=@beir", "--split=dev");
    assertThat(dev.code()).isZero();
    assertThat(dev.err()).isEqualTo("llara: left out: passages without text: 1\n");
    assertThat(written()).containsExactly("where [Llamas They live high up., A lighthouse.] []");
    assertThat(pairs("--beir=@beir", "--split=dev", "--relevance-level=2").code()).isZero();
    assertThat(written()).containsExactly("where [Llamas They live high up.] []");
    assertThat(pairs("--beir=@beir").err())
        .contains("has neither train.tsv", "its splits are: dev");
    CommandRun none = pairs("--beir=@beir", "--split=dev", "--relevance-level=3");
    assertThat(none.code()).isEqualTo(2);
    assertThat(none.err())
        .contains("there is no pair in it; left out were queries without a relevant passage: 1");
  }

  @Test
  void ofTriples() {
    assertThat(pairs("--triples=@triples.tsv").code()).isZero();
    assertThat(written()).containsExactly("q one [p one] [n one, n two]", "q two [p two] [n one]");
    assertThat(
            pairs("--triples=@ids.tsv", "--corpus=@collection.tsv", "--queries=@queries.tsv")
                .code())
        .isZero();
    assertThat(written())
        .containsExactly(
            "what carries loads [A llama carries loads.] [A lighthouse warns., Dough rests.]",
            "what warns ships [A lighthouse warns.] [A llama carries loads.]");
  }

  @Test
  void ofJsonLines() {
    CommandRun run =
        pairs("--jsonl", folder.resolve("tevatron.jsonl").toString(), "@columns.jsonl");
    assertThat(run.err()).isEmpty();
    assertThat(written())
        .containsExactly(
            "q [T p] [n]", "r [p2] []", "q [p] [n]", "r [p1, p2] [n1, n2]", "s [p] []");
  }

  @Test
  void unknownIdsAreLeftOutOnRequest() throws IOException {
    write("qrels.tsv", "10 0 1 1\n10 0 99 1\n77 0 1 1\n");
    write("run.txt", "10 Q0 2 1 9 r\n10 Q0 98 2 8 r\n");
    CommandRun run =
        pairs(
            "--corpus=@collection.tsv",
            "--queries=@queries.tsv",
            "--qrels=@qrels.tsv",
            "--run=@run.txt",
            "--ranks=0-9",
            "--skip-unknown");
    assertThat(run.code()).isZero();
    assertThat(run.err())
        .contains("ids that " + folder.resolve("collection.tsv") + " does not have: 2")
        .contains("ids that " + folder.resolve("queries.tsv") + " does not have: 1");
    assertThat(written())
        .containsExactly("what carries loads [A llama carries loads.] [A lighthouse warns.]");
  }

  /**
   * In the lines, | stands for a tab, / for the end of a line and ~ for a byte that is no UTF-8.
   */
  @ParameterizedTest
  @CsvSource({
    "collection.tsv, 1|a/2, ':2: has 1 field; expected id and text, separated by a tab'",
    "collection.tsv, 1|a/2|b|c, ':2: has 3 fields; expected id and text'",
    "collection.tsv, 1|a/ |b, ':2: has an empty id'",
    "collection.tsv, 1|a/2|~, ':2: is not UTF-8 text'",
    "collection.tsv, 1|a/2|b/1|c, ':3: repeats the id ''1'' of line 1'",
    "collection.tsv, id|text|title/1|a, ':2: has 2 fields; expected id, text and title'",
    "collection.tsv, one text, ':1: is not valid JSON'",
    "queries.tsv, 10|a/11, ':2: has 1 field; expected id and text'",
    "queries.tsv, 10|a/11|~, ':2: is not UTF-8 text'",
    "queries.tsv, 10|a/10|b, ':2: repeats the id ''10'' of line 1'",
    "qrels.tsv, 10|0|1|1/11|0|2, ':2: has 3 fields; expected query-id, 0, document-id and grade'",
    "qrels.tsv, 10|0|1|1/11|0|2|x, ':2: has the score ''x'''",
    "qrels.tsv, 10|0|1|1/11|0|~|1, ':2: is not UTF-8 text'",
    "qrels.tsv, 10|0|1|1/99|0|2|1, ':2: names the query ''99'', which '",
    "qrels.tsv, 10|0|1|1/11|0|77|1, ':2: names the passage ''77'', which '",
    "qrels.tsv, 10|0|1|1/10|0|1|0, ':2: judges document ''1'' for query ''10'' as 0; line 1'",
    "qrels.tsv, 10|1, ':1: has 2 fields; expected query-id'",
    "run.txt, 10 Q0 1 1 9 r/10 Q0 2 2 8, ':2: has 5 fields; expected query-id Q0'",
    "run.txt, 10 Q0 2 1 9 r/10 Q0 77 2 8 r, ':2: names the passage ''77'', which '",
    "run.txt, 10 Q0 2 1 9 r/10 Q0 ~ 2 8 r, ':2: is not UTF-8 text'",
    "run.txt, 10 Q0 2 1 9 r/11 Q0 3 1 9 r/10 Q0 3 1 8 r, ':3: goes back to query ''10'' of line 1'",
  })
  void namesTheLineOfACollectionThatIsWrong(String file, String lines, String message)
      throws IOException {
    damage(file, lines);
    assertRefused(
        file + message,
        "--corpus=@collection.tsv",
        "--queries=@queries.tsv",
        "--qrels=@qrels.tsv",
        "--run=@run.txt",
        "--ranks=0-9");
  }

  @ParameterizedTest
  @CsvSource({
    "triples.tsv, q|p|n/q|p, ':2: has 2 fields; expected query, positive and negative passage'",
    "triples.tsv, q|p|n/q|p| , ':2: has an empty field'",
    "triples.tsv, q|p|n/q|p|~, ':2: is not UTF-8 text'",
    "ids.tsv, 10|1|2/10|1, ':2: has 2 fields'",
    "ids.tsv, 10|1|2/99|1|2, ':2: names the query ''99'', which '",
    "ids.tsv, 10|1|2/10|1|77, ':2: names the passage ''77'', which '",
  })
  void namesTheLineOfTriplesThatIsWrong(String file, String lines, String message)
      throws IOException {
    damage(file, lines);
    if (file.startsWith("ids")) {
      assertRefused(
          file + message,
          "--triples=@" + file,
          "--corpus=@collection.tsv",
          "--queries=@queries.tsv");
    } else {
      assertRefused(file + message, "--triples=@" + file);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "{\"anchor\": \"a\", \"positive\"; :2: is not valid JSON",
        "{\"anchor\": \"a\"}; :2: key 'positive_passages' is missing; expected it, 'positive' beside",
        "{\"anchor\": \"a\", \"positive\": 1}; :2: key 'positive' is 1; expected a list",
        "{\"positive\": \"a\"}; :2: key 'query' is missing",
        "{\"query\": \"a\", \"positive_passages\": [{}]}; key 'positive_passages[0].text' is missing",
        "{\"query\": \"a\", \"positive_passages\": \"p\"}; key 'positive_passages' is the string",
        "{\"anchor\": \"a\", \"positive\": \"~\"}; :2: is not UTF-8 text",
      })
  void namesTheJsonLineThatIsWrong(String line, String message) throws IOException {
    damage("columns.jsonl", "{\"anchor\": \"a\", \"positive\": \"p\"}\n" + line);
    assertRefused(message, "--jsonl=@columns.jsonl");
  }

  @ParameterizedTest
  @CsvSource({"collection.tsv", "queries.tsv", "qrels.tsv", "run.txt", "ids.tsv", "columns.jsonl"})
  void saysWhichFileIsCutOff(String file) throws IOException {
    ByteArrayOutputStream zipped = new ByteArrayOutputStream();
    try (GZIPOutputStream zip = new GZIPOutputStream(zipped)) {
      zip.write(Files.readAllBytes(folder.resolve(file)));
    }
    byte[] bytes = zipped.toByteArray();
    Files.write(folder.resolve(file), Arrays.copyOf(bytes, bytes.length - 9));
    String message = file + ": cannot be read after line ";
    switch (file) {
      case "columns.jsonl" -> assertRefused(message, "--jsonl=@columns.jsonl");
      case "ids.tsv" ->
          assertRefused(
              message, "--triples=@ids.tsv", "--corpus=@collection.tsv", "--queries=@queries.tsv");
      default ->
          assertRefused(
              message,
              "--corpus=@collection.tsv",
              "--queries=@queries.tsv",
              "--qrels=@qrels.tsv",
              "--run=@run.txt");
    }
  }

  @Test
  void optionsFitTogether() {
    assertRefused("give --beir DIR, or --corpus FILE, --queries FILE and --qrels FILE");
    assertRefused("give --beir DIR, or --corpus", "--corpus=@collection.tsv");
    assertRefused(
        "--split is for --beir", "--split=dev", "--corpus=@c", "--queries=@q", "--qrels=@r");
    assertRefused("--jsonl and --run exclude each other", "--jsonl=@j", "--run=@r");
    assertRefused("--beir and --corpus exclude each other", "--beir=@b", "--corpus=@c");
    assertRefused("--triples takes --corpus and --queries", "--triples=@t", "--corpus=@c");
    assertRefused(
        "with --jsonl there is no --beir, --ranks", "--jsonl=@j", "--beir=@b", "--ranks=1-2");
    assertRefused("without --run there is no --ranks", "--beir=@.", "--ranks=1-2");
    assertRefused("is also what --jsonl reads", "--jsonl=" + out);
    assertRefused("nothing.tsv: does not exist", "--triples=@nothing.tsv");
  }

  private void damage(String file, String lines) throws IOException {
    Files.write(
        folder.resolve(file),
        lines
            .replace('|', '\t')
            .replace('/', '\n')
            .replace('~', '\u00e9')
            .getBytes(StandardCharsets.ISO_8859_1));
  }

  /** Also, nothing is written. */
  private void assertRefused(String message, String... options) {
    List<String> before = files();
    CommandRun run = pairs(options);
    assertThat(run.err()).contains(message);
    assertThat(run.code()).isEqualTo(2);
    assertThat(run.out()).isEmpty();
    assertThat(files()).isEqualTo(before);
  }

  private List<String> files() {
    try (Stream<Path> all = Files.list(folder)) {
      return all.map(Path::toString).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
