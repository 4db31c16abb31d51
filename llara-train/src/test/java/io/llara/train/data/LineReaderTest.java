package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.base.Strings;
import io.llara.LlaraException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LineReaderTest {
  @TempDir Path dir;

  private static List<String> lines(Path file) throws BadLineException {
    List<String> lines = new ArrayList<>();
    try (LineReader reader = new LineReader(file)) {
      while (reader.advance()) {
        lines.add(new String(reader.bytes(), StandardCharsets.UTF_8));
        assertThat(reader.number()).isEqualTo(lines.size());
      }
      assertThat(reader.advance()).isFalse();
    }
    return lines;
  }

  @ParameterizedTest
  @ValueSource(strings = {"data.jsonl", "data.jsonl.gz", "DATA.GZ"})
  void readsLinesAcrossBuffers(String name) throws Exception {
    Random random = new Random(7);
    List<String> expected = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      expected.add(i % 5 == 0 ? "" : Strings.repeat("\u00e9", random.nextInt(5000)));
    }
    byte[] bytes = String.join("\n", expected).getBytes(StandardCharsets.UTF_8);
    Path file = dir.resolve(name);
    Files.write(file, name.endsWith("l") ? bytes : DataFiles.packed(bytes));

    assertThat(lines(file)).isEqualTo(expected);
  }

  @Test
  void lastLineNeedsNoEnd() throws Exception {
    assertThat(lines(Files.writeString(dir.resolve("a"), "x\ny"))).containsExactly("x", "y");
    assertThat(lines(Files.writeString(dir.resolve("b"), "x\ny\n"))).containsExactly("x", "y");
    assertThat(lines(Files.writeString(dir.resolve("c"), "x\n\n"))).containsExactly("x", "");
    assertThat(lines(Files.writeString(dir.resolve("d"), ""))).isEmpty();
    assertThat(lines(DataFiles.write(dir.resolve("e.gz"), "x"))).containsExactly("x");
  }

  @Test
  void marksAtTheBeginningAreNoText() throws Exception {
    assertThat(lines(Files.writeString(dir.resolve("a"), "\uFEFFx\n\uFEFFy")))
        .containsExactly("x", "\uFEFFy");
  }

  @Test
  void readsGzipFilesOfSeveralMembers() throws Exception {
    byte[] first = DataFiles.packed("a\nb".getBytes(StandardCharsets.UTF_8));
    byte[] second = DataFiles.packed("c\nd\n".getBytes(StandardCharsets.UTF_8));
    byte[] both = Arrays.copyOf(first, first.length + second.length);
    System.arraycopy(second, 0, both, first.length, second.length);

    assertThat(lines(Files.write(dir.resolve("a.gz"), both))).containsExactly("a", "bc", "d");
  }

  @Test
  void tooLongALineDoesNotHideTheNext() throws Exception {
    Path file = Files.writeString(dir.resolve("a"), Strings.repeat("x", 101) + "\n12345\n");
    try (LineReader reader = new LineReader(file, 100)) {
      assertThat(reader.advance()).isTrue();
      assertThatThrownBy(reader::bytes)
          .isInstanceOf(BadLineException.class)
          .hasMessageContaining("more than 100 bytes");
      assertThat(reader.advance()).isTrue();
      assertThat(reader.bytes()).hasSize(5);
      assertThat(reader.number()).isEqualTo(2);
    }
  }

  @Test
  void refusesFilesThatCannotBeRead() throws IOException {
    Path missing = dir.resolve("missing");
    Path plain = Files.writeString(dir.resolve("plain.gz"), "{\"text\": \"no gzip\"}\n");
    Path empty = Files.write(dir.resolve("empty.gz"), new byte[0]);

    assertThatThrownBy(() -> new LineReader(missing))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(missing + ": cannot be read: no such file");
    assertThatThrownBy(() -> new LineReader(plain))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(plain + ": cannot be read: its gzip data is damaged, or none");
    assertThatThrownBy(() -> new LineReader(empty))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(empty + ": cannot be read: its gzip data ends too early");
  }

  @Test
  void everyCutAndEveryChangeOfAGzipFileIsNamedOrHarmless() throws Exception {
    byte[] whole = DataFiles.packed("one line\nanother line\n".getBytes(StandardCharsets.UTF_8));
    for (int length = 0; length < whole.length; length++) {
      Path file = Files.write(dir.resolve("cut.gz"), Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> lines(file))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining(file + ": cannot be read");
    }
    Random random = new Random(3);
    for (int i = 0; i < 500; i++) {
      byte[] changed = whole.clone();
      changed[random.nextInt(changed.length)] ^= (byte) (1 + random.nextInt(255));
      Path file = Files.write(dir.resolve("changed.gz"), changed);
      try {
        assertThat(lines(file)).containsExactly("one line", "another line");
      } catch (LlaraException e) {
        assertThat(e).hasMessageContaining(file.toString());
      }
    }
  }
}
