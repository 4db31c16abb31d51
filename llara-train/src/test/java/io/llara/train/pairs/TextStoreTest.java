package io.llara.train.pairs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TextStoreTest {
  private static final String REPEATS = "repeats '%s' of line %d";
  private static final Path SOURCE = Path.of("texts");

  @TempDir private Path folder;

  /** Sorted in one go, in several, and one text at a time. */
  @ParameterizedTest
  @CsvSource({"100000, 1000000", "100000, 30000", "100, 1", "0, 1"})
  void findsEachTextByItsId(int count, int sortedAtOnce) {
    try (TextStore store = store(count, sortedAtOnce)) {
      for (int i = 0; i < count; i++) {
        assertThat(store.get("id" + i)).isEqualTo("text é " + i);
      }
      assertThat(store.get("id" + count)).isNull();
      assertThat(store.get("")).isNull();
    }
  }

  private static TextStore store(int count, int sortedAtOnce) {
    Consumer<TextStore.Input> reader =
        input -> {
          for (int i = 0; i < count; i++) {
            input.put("id" + i, "text é " + i, i + 1);
          }
        };
    return new TextStore(SOURCE, reader, REPEATS, sortedAtOnce);
  }

  @Test
  void namesBothLinesOfAnIdThatIsThereTwice() {
    assertThatThrownBy(
            () ->
                new TextStore(
                    SOURCE,
                    input -> {
                      input.put("a", "", 3);
                      input.put("b", "x", 4);
                      input.put("a", "y", 7);
                    },
                    REPEATS))
        .isInstanceOf(LlaraException.class)
        .hasMessage("texts:7: repeats 'a' of line 3");
  }

  @Test
  void leavesNothingBehind() throws IOException {
    List<Path> before = temporary();
    store(10, 1 << 20).close();
    assertThatThrownBy(
            () ->
                new TextStore(
                    SOURCE,
                    input -> {
                      throw new LlaraException("no");
                    },
                    REPEATS))
        .hasMessage("no");
    assertThat(temporary()).isEqualTo(before);
  }

  private static List<Path> temporary() throws IOException {
    try (Stream<Path> files = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
      return new ArrayList<>(
          files.filter(file -> file.getFileName().toString().startsWith("llara-texts")).toList());
    }
  }

  @Test
  void readsTheFormsOfCollections() throws IOException {
    Path marco = Files.writeString(folder.resolve("collection.tsv"), "0\tOne text.\n1\tAnother\n");
    Path dpr =
        Files.writeString(
            folder.resolve("psgs_w100.tsv"),
            "id\ttext\ttitle\n1\t\"A \"\"quoted\"\" text.\"\tTitle\n2\tPlain\t\"A \"\"T\"\"\"\n");
    Path beir =
        Files.writeString(
            folder.resolve("corpus.jsonl"), "{\"_id\": \"1\", \"title\": \"T\", \"text\": \"x\"}");
    try (TextStore store = TextStore.read(marco, document -> document.passage())) {
      assertThat(store.get("0")).isEqualTo("One text.");
      assertThat(store.get("1")).isEqualTo("Another");
    }
    try (TextStore store = TextStore.read(dpr, document -> document.passage())) {
      assertThat(store.get("1")).isEqualTo("Title A \"quoted\" text.");
      assertThat(store.get("2")).isEqualTo("A \"T\" Plain");
      assertThat(store.get("id")).isNull();
    }
    try (TextStore store = TextStore.read(beir, document -> document.text())) {
      assertThat(store.get("1")).isEqualTo("x");
    }
  }
}
