package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import io.llara.testing.Stories;
import io.llara.tokenize.Tokenizer;
import io.llara.train.data.Dataset;
import io.llara.train.data.DatasetReader;
import io.llara.train.data.PassageSplitter;
import io.llara.train.data.StopWords;
import io.llara.train.data.TextFormat;
import io.llara.train.data.TrainingText;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TextFolderTest {
  @TempDir private Path dir;

  private Path folder;
  private Path out;

  @BeforeEach
  void prepare() throws IOException {
    folder = Files.createDirectory(dir.resolve("notes"));
    out = dir.resolve("notes.jsonl");
  }

  @AfterEach
  void leavesNothingHalfWritten() throws IOException {
    try (var files = Files.list(dir)) {
      assertThat(files.map(Path::getFileName).map(Path::toString))
          .noneMatch(n -> n.endsWith("tmp"));
    }
  }

  private Path file(String name, String... lines) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    return Files.writeString(file, String.join("\n", lines) + "\n");
  }

  private TextFolder.Report collect() {
    return collect(false, Optional.empty());
  }

  private TextFolder.Report collect(boolean skipBadFiles, Optional<PassageSplitter> splitter) {
    return new TextFolder(List.of(folder), skipBadFiles, splitter, (done, total) -> {}).write(out);
  }

  /** Returns "id | title | text" of each line. */
  private List<String> lines() throws IOException {
    return Files.readAllLines(out).stream().map(TextFolderTest::line).toList();
  }

  private static String line(String json) {
    JsonObject object = JsonParser.parseString(json).getAsJsonObject();
    assertThat(object.keySet()).containsExactly("_id", "title", "text");
    return String.join(
        " | ",
        object.get("_id").getAsString(),
        object.get("title").getAsString(),
        object.get("text").getAsString());
  }

  @Test
  void filesAtAnyDepthInTheOrderOfTheirPaths() throws IOException {
    file("b.txt", "Bees.");
    file("deep/er/c.TXT", "Cats.");
    file("a.txt", "Ants.");
    file("deep/a.md", "Apes.");
    file("deep.markdown", "Dogs.");
    file("photo.png", "not text");
    file("Makefile", "not text either");

    assertThat(collect()).isEqualTo(new TextFolder.Report(5, 5, 0, 0, 2));
    assertThat(lines())
        .containsExactly(
            "a.txt | a | Ants.",
            "b.txt | b | Bees.",
            "deep.markdown | deep | Dogs.",
            "deep/a.md | a | Apes.",
            "deep/er/c.TXT | c | Cats.");
  }

  @Test
  void linesBecomeParagraphs() throws IOException {
    file("a.txt", "", "  A line that is", "broken here. ", "", " \t ", "Another", "paragraph.", "");
    file("windows.txt", "One\r", "two.\r", "\r", "Three.\r");
    file("zh.txt", "羊駝是一種", "動物。", "ラマと", "llama");

    collect();
    assertThat(lines())
        .containsExactly(
            "a.txt | a | A line that is broken here.\nAnother paragraph.",
            "windows.txt | windows | One two.\nThree.",
            // The full stop belongs to no script of its own.
            "zh.txt | zh | 羊駝是一種動物。 ラマと llama");
  }

  @Test
  void theHeadingThatMarkdownBeginsWithIsTheTitle() throws IOException {
    file("a.md", "", "# All about llamas #", "They hum.", "## Wool", "It is", "warm.", "#tag");
    file("b.md", "Text first.", "# Then a heading", "More.");
    file("c.txt", "# no heading", "in plain text");
    file("only.md", "# A heading and nothing else");

    assertThat(collect()).isEqualTo(new TextFolder.Report(3, 3, 1, 0, 0));
    assertThat(lines())
        .containsExactly(
            "a.md | All about llamas | They hum.\n## Wool\nIt is warm. #tag",
            "b.md | b | Text first.\n# Then a heading\nMore.",
            "c.txt | c | # no heading in plain text");
  }

  @Test
  void hiddenOnesAndLinksToFoldersArePassedOver() throws IOException {
    file("a.txt", "Seen.");
    file(".b.txt", "Hidden.");
    file(".git/c.txt", "Hidden.");
    Path link = folder.resolve("loop");
    boolean links = true;
    try {
      Files.createSymbolicLink(link, folder);
      Files.createSymbolicLink(folder.resolve("link.txt"), folder.resolve("a.txt"));
    } catch (IOException | UnsupportedOperationException e) {
      links = false;
    }
    assumeThat(links).isTrue();

    collect();
    assertThat(lines()).containsExactly("a.txt | a | Seen.", "link.txt | link | Seen.");
  }

  @Test
  void theFolderItselfMayBeHidden() throws IOException {
    folder = Files.createDirectory(dir.resolve(".notes"));
    file("a.txt", "Seen.");

    collect();
    assertThat(lines()).containsExactly("a.txt | a | Seen.");
  }

  @Test
  void documentsAreCutIntoPassages() throws IOException {
    file("a.txt", "The dog ran to the tree. He saw a red ball.", "", "The sun was very hot.");
    file("b.txt", "The end.");
    TextFolder.Report report;
    try (Tokenizer tokenizer = Tokenizer.load(Stories.dir())) {
      report = collect(false, Optional.of(new PassageSplitter(tokenizer, 12)));
    }

    assertThat(report).isEqualTo(new TextFolder.Report(2, 4, 0, 0, 0));
    assertThat(lines())
        .containsExactly(
            "a.txt#1 | a | The dog ran to the tree.",
            "a.txt#2 | a | He saw a red ball.",
            "a.txt#3 | a | The sun was very hot.",
            "b.txt#1 | b | The end.");
  }

  @Test
  void trainingReadsWhatWasCollected() throws IOException {
    file("a.txt", "The dog ran to the tree. He saw a red ball.");
    collect();

    try (Tokenizer tokenizer = Tokenizer.load(Stories.dir())) {
      Dataset<TrainingText> source =
          Dataset.ofTexts(
              List.of(out),
              new TextFormat(
                  Optional.of(new PassageSplitter(tokenizer, 16)),
                  Optional.of(StopWords.english()),
                  false));
      try (DatasetReader<TrainingText> texts = source.open()) {
        assertThat(texts)
            .toIterable()
            .containsExactly(
                new TrainingText(
                    "The dog ran to the tree.",
                    "dog ran tree",
                    "saw red ball",
                    out + ":1 passage 1"));
      }
    }
  }

  @Test
  void packedByName() throws IOException {
    file("a.txt", "Ants.");
    out = dir.resolve("notes.jsonl.GZ");
    collect();

    try (var in = new GZIPInputStream(new ByteArrayInputStream(Files.readAllBytes(out)))) {
      assertThat(new String(in.readAllBytes(), StandardCharsets.UTF_8))
          .isEqualTo("{\"_id\":\"a.txt\",\"title\":\"a\",\"text\":\"Ants.\"}\n");
    }
  }

  @Test
  void aByteOrderMarkIsNoText() throws IOException {
    file("a.md", "\uFEFF# Title", "Text.");
    collect();
    assertThat(lines()).containsExactly("a.md | Title | Text.");
  }

  @Test
  void filesThatAreNoTextAreNamedOrSkipped() throws IOException {
    file("good.txt", "Good.");
    Path latin = Files.write(folder.resolve("latin.txt"), new byte[] {'a', (byte) 0xE9, 'b'});
    Path binary = Files.write(folder.resolve("binary.txt"), new byte[] {'a', 0, 'b'});
    Path large = folder.resolve("large.txt");
    try (RandomAccessFile sparse = new RandomAccessFile(large.toFile(), "rw")) {
      sparse.setLength((1 << 25) + 1);
    }
    Files.writeString(out, "from before");

    assertThatThrownBy(this::collect)
        .isInstanceOf(LlaraException.class)
        .hasMessage(binary + ": is not text: it has a NUL character");
    Files.delete(binary);
    assertThatThrownBy(this::collect).hasMessage(large + ": has 33554433 bytes, at most 33554432");
    Files.delete(large);
    assertThatThrownBy(this::collect).hasMessage(latin + ": is not UTF-8");
    assertThat(out).hasContent("from before");

    assertThat(collect(true, Optional.empty())).isEqualTo(new TextFolder.Report(1, 1, 0, 1, 0));
    assertThat(lines()).containsExactly("good.txt | good | Good.");
  }

  @Test
  void severalFoldersMustNotShareAnId() throws IOException {
    Path first = file("a.txt", "Ants.");
    Path other = Files.createDirectory(dir.resolve("other"));
    TextFolder both =
        new TextFolder(List.of(folder, other), false, Optional.empty(), (done, total) -> {});
    Files.writeString(other.resolve("A.txt"), "Apes.");
    both.write(out);
    // The folders stay in the order given.
    assertThat(lines()).containsExactly("a.txt | a | Ants.", "A.txt | A | Apes.");

    Path second = Files.writeString(other.resolve("a.txt"), "Ants.");
    assertThatThrownBy(() -> both.write(out))
        .isInstanceOf(LlaraException.class)
        .hasMessage(
            first + " and " + second + " would have the same id; give a folder that contains both");
  }

  @Test
  void nothingToCollect() throws IOException {
    assertThatThrownBy(this::collect)
        .isInstanceOf(LlaraException.class)
        .hasMessage(
            folder
                + ": contains no text; expected files whose names end in .txt, .md or .markdown");
    file("blank.txt", " ", "");
    file("a.pdf", "…");
    file("b.pdf", "…");
    assertThatThrownBy(this::collect)
        .hasMessageEndingWith("; found 1 file without text, 2 files with other extensions");
    assertThat(out).doesNotExist();

    folder = dir.resolve("missing");
    assertThatThrownBy(this::collect)
        .isInstanceOf(LlaraException.class)
        .hasMessage(folder + ": does not exist; expected a folder of text files");
    folder = Files.writeString(dir.resolve("plain.txt"), "Text.");
    assertThatThrownBy(this::collect)
        .isInstanceOf(LlaraException.class)
        .hasMessage(folder + ": is a file; expected a folder of text files");
  }

  @Test
  void reportsProgressAndStopsWhenInterrupted() throws IOException {
    file("a.txt", "Ants.");
    file("b.txt", "Bees.");
    List<String> progress = new ArrayList<>();
    new TextFolder(
            List.of(folder),
            false,
            Optional.empty(),
            (done, total) -> progress.add(done + "/" + total))
        .write(out);
    assertThat(progress).containsExactly("1/2", "2/2");

    Files.delete(out);
    TextFolder interrupted =
        new TextFolder(
            List.of(folder),
            false,
            Optional.empty(),
            (done, total) -> Thread.currentThread().interrupt());
    try {
      assertThatThrownBy(() -> interrupted.write(out))
          .isInstanceOf(LlaraException.class)
          .hasMessage("collecting was interrupted; nothing was written");
    } finally {
      assertThat(Thread.interrupted()).isTrue();
    }
    assertThat(out).doesNotExist();
  }
}
