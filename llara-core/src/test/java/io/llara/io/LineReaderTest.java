package io.llara.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.base.Strings;
import io.llara.LlaraException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LineReaderTest {
  @TempDir Path dir;

  private static List<String> lines(Path file) {
    List<String> lines = new ArrayList<>();
    try (LineReader reader = new LineReader(file)) {
      while (reader.advance()) {
        lines.add(reader.line());
        assertThat(reader.number()).isEqualTo(lines.size());
      }
      assertThat(reader.advance()).isFalse();
    }
    return lines;
  }

  private static byte[] packed(byte[] bytes) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
      gzip.write(bytes);
    }
    return out.toByteArray();
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void tellsWhereALineBeginsAndStartsThere(boolean packed) throws Exception {
    Random random = new Random(8);
    List<String> expected = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      expected.add("line %d %s".formatted(i, Strings.repeat("\u00e9", random.nextInt(3000))));
    }
    byte[] plain = ("\uFEFF" + String.join("\r\n", expected)).getBytes(StandardCharsets.UTF_8);
    Path file = Files.write(dir.resolve("data"), packed ? packed(plain) : plain);

    try (LineReader reader = new LineReader(file)) {
      for (int i = 0; reader.advance(); i++) {
        int begin = (int) reader.offset();
        LineReader.Source rest = () -> new ByteArrayInputStream(plain, begin, plain.length - begin);
        try (LineReader again = LineReader.startingAfter("again", rest, i)) {
          assertThat(again.advance()).isTrue();
          assertThat(again.line()).isEqualTo(expected.get(i));
          assertThat(again.place()).isEqualTo("again:" + (i + 1));
        }
      }
      assertThat(reader.number()).isEqualTo(100);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void readsLinesAcrossBuffersWhateverTheName(boolean packed) throws Exception {
    Random random = new Random(7);
    List<String> expected = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      expected.add(i % 5 == 0 ? "" : Strings.repeat("\u00e9", random.nextInt(5000)));
    }
    byte[] bytes = String.join("\n", expected).getBytes(StandardCharsets.UTF_8);

    for (String name : List.of("data.jsonl", "data.jsonl.gz")) {
      Path file = Files.write(dir.resolve(name), packed ? packed(bytes) : bytes);
      assertThat(lines(file)).isEqualTo(expected);
    }
  }

  @Test
  void lastLineNeedsNoEnd() throws Exception {
    assertThat(lines(Files.writeString(dir.resolve("a"), "x\ny"))).containsExactly("x", "y");
    assertThat(lines(Files.writeString(dir.resolve("b"), "x\ny\n"))).containsExactly("x", "y");
    assertThat(lines(Files.writeString(dir.resolve("c"), "x\n\n"))).containsExactly("x", "");
    assertThat(lines(Files.writeString(dir.resolve("d"), ""))).isEmpty();
    assertThat(lines(Files.write(dir.resolve("e"), packed(new byte[] {'x'})))).containsExactly("x");
    assertThat(lines(Files.writeString(dir.resolve("f"), "x\r\n\r\ny\r")))
        .containsExactly("x", "", "y");
  }

  @Test
  void marksAtTheBeginningAreNoText() throws Exception {
    assertThat(lines(Files.writeString(dir.resolve("a"), "\uFEFFx\n\uFEFFy")))
        .containsExactly("x", "\uFEFFy");
  }

  @Test
  void readsGzipFilesOfSeveralMembers() throws Exception {
    byte[] first = packed("a\nb".getBytes(StandardCharsets.UTF_8));
    byte[] second = packed("c\nd\n".getBytes(StandardCharsets.UTF_8));
    byte[] both = Arrays.copyOf(first, first.length + second.length);
    System.arraycopy(second, 0, both, first.length, second.length);

    assertThat(lines(Files.write(dir.resolve("a.gz"), both))).containsExactly("a", "bc", "d");
  }

  @Test
  void tooLongALineDoesNotHideTheNext() throws Exception {
    Path file = Files.writeString(dir.resolve("a"), Strings.repeat("x", 101) + "\n12345\n");
    try (LineReader reader = new LineReader("a", () -> Files.newInputStream(file), 100)) {
      assertThat(reader.advance()).isTrue();
      assertThatThrownBy(reader::line)
          .isInstanceOf(LlaraException.class)
          .hasMessage("a:1: has more than 100 bytes");
      assertThat(reader.advance()).isTrue();
      assertThat(reader.line()).isEqualTo("12345");
      assertThat(reader.number()).isEqualTo(2);
    }
  }

  @Test
  void refusesFilesThatCannotBeRead() throws IOException {
    Path missing = dir.resolve("missing");
    Path header = Files.write(dir.resolve("header"), new byte[] {0x1f, (byte) 0x8b, 7, 7, 7});

    assertThatThrownBy(() -> new LineReader(missing))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(missing + ": cannot be read: no such file");
    assertThatThrownBy(() -> LineReader.open(missing, "a list"))
        .isInstanceOf(LlaraException.class)
        .hasMessage(missing + ": does not exist; expected a list");
    assertThatThrownBy(() -> LineReader.open(dir, "a list"))
        .hasMessage(dir + ": is a directory; expected a list");
    assertThatThrownBy(() -> new LineReader(header))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(header + ": cannot be read: its gzip data is damaged");
  }

  @Test
  void namesTheLineThatIsNotUtf8AndReadsOn() throws IOException {
    byte[] bytes = "one\n\u00fcber\nthree".getBytes(StandardCharsets.ISO_8859_1);
    Path file = Files.write(dir.resolve("a"), bytes);
    try (LineReader reader = new LineReader(file)) {
      assertThat(reader.advance() && reader.advance()).isTrue();
      assertThatThrownBy(reader::line)
          .isInstanceOf(LlaraException.class)
          .hasMessage(file + ":2: is not UTF-8 text");
      assertThat(reader.advance()).isTrue();
      assertThat(reader.line()).isEqualTo("three");
    }
  }

  @Test
  void passesOverBlankLinesAndCountsThem() throws IOException {
    Path file = Files.writeString(dir.resolve("a"), "\n \nx\n\n");
    try (LineReader reader = new LineReader(file)) {
      assertThat(reader.advanceToText()).isTrue();
      assertThat(reader.place()).isEqualTo(file + ":3");
      assertThat(reader.advanceToText()).isFalse();
    }
  }

  @Test
  void readsALineAsAJsonObject() throws IOException {
    Path file =
        Files.writeString(dir.resolve("a"), "{\"a\": \"x\"}\n \n[1]\n{\"a\": 1} 2\n{\"a\": no}\n");
    try (LineReader reader = new LineReader(file)) {
      assertThat(reader.advance()).isTrue();
      assertThat(reader.json().requiredString("a")).isEqualTo("x");
      for (String problem :
          List.of(
              ":2: is blank; expected a JSON object",
              ":3: holds a list; expected a JSON object",
              ":4: is not valid JSON: unexpected character at character 11",
              ":5: is not valid JSON: unexpected character at character 7")) {
        assertThat(reader.advance()).isTrue();
        assertThatThrownBy(reader::json)
            .isInstanceOf(LlaraException.class)
            .hasMessage(file + problem);
      }
    }
  }

  @Test
  void everyCutAndEveryChangeOfAGzipFileIsNamedOrHarmless() throws Exception {
    byte[] whole = packed("one line\nanother line\n".getBytes(StandardCharsets.UTF_8));
    // Less is not known for gzip data.
    for (int length = 2; length < whole.length; length++) {
      Path file = Files.write(dir.resolve("cut.gz"), Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> lines(file))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining(file + ": cannot be read");
    }
    Random random = new Random(3);
    for (int i = 0; i < 500; i++) {
      byte[] changed = whole.clone();
      changed[2 + random.nextInt(changed.length - 2)] ^= (byte) (1 + random.nextInt(255));
      Path file = Files.write(dir.resolve("changed.gz"), changed);
      try {
        assertThat(lines(file)).containsExactly("one line", "another line");
      } catch (LlaraException e) {
        assertThat(e).hasMessageContaining(file.toString());
      }
    }
  }
}
