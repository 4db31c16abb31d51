package io.llara.retrieval.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RunTest {
  @TempDir private Path folder;

  @Test
  void writesWhatItReads() throws IOException {
    Map<String, Ranking> rankings = new LinkedHashMap<>();
    rankings.put(
        "q2",
        new Ranking(
            List.of(
                new ScoredDocument("d1", 0.1f),
                new ScoredDocument("é", Float.MIN_VALUE),
                new ScoredDocument("d2", 0.1f),
                new ScoredDocument("d3", 12345.678f))));
    rankings.put("q1", new Ranking(List.of(new ScoredDocument("d1", -1))));
    Run run = new Run("ours", rankings);
    Path file = folder.resolve("run.txt");
    run.write(file);
    assertThat(Files.readString(file))
        .isEqualTo(
            """
            q2 Q0 d3 1 12345.678 ours
            q2 Q0 d2 2 0.1 ours
            q2 Q0 d1 3 0.1 ours
            q2 Q0 é 4 1.4E-45 ours
            q1 Q0 d1 1 -1.0 ours
            """);
    assertThat(Run.read(file)).isEqualTo(run);
    assertThat(Run.read(file).rankings().keySet()).containsExactly("q2", "q1");
  }

  @Test
  void scoresTellTheOrderAndNotRanks() throws IOException {
    Path file =
        Files.writeString(folder.resolve("run"), "\nq1\tQ0  d1 1 0.5 x\n q1 Q0 d2 9 1e0 y\n");
    Run run = Run.read(file);
    assertThat(run.name()).isEqualTo("y");
    assertThat(run.ranking("q1").documents())
        .containsExactly(new ScoredDocument("d2", 1), new ScoredDocument("d1", 0.5f));
    assertThat(run.ranking("q2")).isEqualTo(Ranking.EMPTY);
  }

  @Test
  void streamsAQueryAtATime() throws IOException {
    Path file =
        Files.writeString(
            folder.resolve("run"),
            "q1 Q0 d1 1 1 r\nq1 Q0 d2 2 3 r\n\nq2 Q0 d1 1 1 r\nq1 Q0 d3 1 1 r\n");
    List<String> found = new ArrayList<>();
    Run.stream(
        file,
        (query, ranking, line) ->
            found.add(
                query + ranking.documents().stream().map(ScoredDocument::id).toList() + line));
    assertThat(found).containsExactly("q1[d2, d1]1", "q2[d1]4", "q1[d3]5");
    assertThat(Run.line(file, "q1", "d3")).isEqualTo(5);
    Path repeated = Files.writeString(folder.resolve("run"), "q Q0 d 1 1 r\nq Q0 d 2 1 r\n");
    assertThatThrownBy(() -> Run.stream(repeated, (query, ranking, line) -> {}))
        .hasMessageContaining(":2: lists document 'd' for query 'q' again");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          q1 Q0 d2 1 0.5     | :2: has 5 fields; expected query-id Q0 document-id rank score
          q1 Q0 d2 1 x run   | :2: has the score 'x'; expected a finite number
          q1 Q0 d2 1 NaN run | :2: has the score 'NaN'
          q1 Q0 d1 2 0.1 run | :2: lists document 'd1' for query 'q1' again; it is already on line 1
          """)
  void namesTheLineThatIsWrong(String line, String message) throws IOException {
    Path file = Files.writeString(folder.resolve("run"), "q1 Q0 d1 1 0.5 run\n" + line);
    assertThatThrownBy(() -> Run.read(file))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(file.toString())
        .hasMessageContaining(message);
  }

  @Test
  void refusesWhatTheFormCannotHold() throws IOException {
    Path file = Files.writeString(folder.resolve("run"), "old");
    Ranking spaced = new Ranking(List.of(new ScoredDocument("d 1", 1)));
    for (Run run :
        List.of(
            new Run("r", Map.of("q1", spaced)),
            new Run("r", Map.of("", Ranking.EMPTY)),
            new Run("a b", Map.of()))) {
      assertThatThrownBy(() -> run.write(file))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("is empty or has a space");
      assertThat(file).hasContent("old");
    }
  }
}
