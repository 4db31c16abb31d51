package io.llara.retrieval.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class QrelsTest {
  private static final String HEADER = "query-id\tcorpus-id\tscore\n";

  @TempDir private Path folder;

  @Test
  void readsGradesInTheirOrder() throws IOException {
    String text = HEADER + "q2\td1\t2\r\n\nq1\td 9\t0\nq2\td0\t-1\nq2\td1\t2";
    Qrels qrels = Qrels.read(write(text));
    assertThat(qrels.queryIds()).containsExactly("q2", "q1");
    assertThat(qrels.documentIds()).containsExactly("d1", "d0", "d 9");
    assertThat(qrels.grades("q2")).containsEntry("d1", 2).containsEntry("d0", -1).hasSize(2);
    assertThat(qrels.grades("q1")).containsEntry("d 9", 0);
    assertThat(qrels.grades("q7")).isEmpty();
    assertThat(qrels.size()).isEqualTo(3);
    Path zipped = folder.resolve("test.tsv.gz");
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(zipped))) {
      out.write(text.getBytes(StandardCharsets.UTF_8));
    }
    assertThat(Qrels.read(zipped).grades("q2")).isEqualTo(qrels.grades("q2"));
  }

  @Test
  void readsTheFourColumnsOfTrec() throws IOException {
    Path file = write("q2\t0\td1\t2\nq1 Q0  d9 0\n\n q2 0 d0 -1\r\nq2 0 d1 2\n");
    Qrels qrels = Qrels.read(file);
    assertThat(qrels.queryIds()).containsExactly("q2", "q1");
    assertThat(qrels.grades("q2")).containsEntry("d1", 2).containsEntry("d0", -1).hasSize(2);
    assertThat(qrels.grades("q1")).containsEntry("d9", 0);
    assertThat(Qrels.line(file, "q2", "d0")).isEqualTo(4);
    assertThat(Qrels.line(file, "q1", "d0")).isZero();
    assertThatThrownBy(() -> Qrels.read(write("q1 0 d1 1\nq1 0 d2\n")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(":2: has 3 fields; expected query-id, 0, document-id and grade");
    assertThatThrownBy(() -> Qrels.read(write("q1 0 d1 1\nq1 0 d1 2\n")))
        .hasMessageContaining(
            ":2: judges document 'd1' for query 'q1' as 2; line 1 judges it as 1");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          q1 d1     | :2: has 2 fields; expected query-id, corpus-id and score, separated by tabs
          q1 0 d1 1 | :2: has 4 fields
          q1 d1 x   | :2: has the score 'x'; expected a whole number
          q1 d1 1.5 | :2: has the score '1.5'
          q1  1     | :2: has an empty field
          """)
  void namesTheLineThatIsNoJudgement(String line, String message) throws IOException {
    Path file = write(HEADER + line.replace(' ', '\t') + "\n");
    assertThatThrownBy(() -> Qrels.read(file))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(file.toString())
        .hasMessageContaining(message);
  }

  @Test
  void namesBothLinesOfAContradiction() throws IOException {
    Path file = write(HEADER + "q1\td1\t1\nq2\td1\t0\nq1\td1\t2\n");
    assertThatThrownBy(() -> Qrels.read(file))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(
            ":4: judges document 'd1' for query 'q1' as 2; line 2 judges it as 1");
  }

  @Test
  void wantsAHeader() throws IOException {
    Path headless = write("q1\td1\t1\n");
    assertThatThrownBy(() -> Qrels.read(headless))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(":1: is a judgement; expected the header");
    Path empty = write("");
    assertThatThrownBy(() -> Qrels.read(empty)).hasMessageContaining("is empty");
    assertThatThrownBy(() -> Qrels.read(folder.resolve("none.tsv")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("none.tsv: does not exist");
  }

  private Path write(String text) throws IOException {
    return Files.writeString(folder.resolve("test.tsv"), text);
  }
}
