package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.testing.Stories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CollectCommandTest {
  @TempDir private Path dir;

  private Path folder;
  private Path out;

  @BeforeEach
  void prepare() throws IOException {
    folder = Files.createDirectory(dir.resolve("notes"));
    out = dir.resolve("notes.jsonl");
    Files.writeString(folder.resolve("a.md"), "# Llamas\nLlamas hum. They carry loads.\n");
    Files.writeString(folder.resolve("b.txt"), "The cow is big.\n");
    Files.writeString(folder.resolve("c.png"), "");
  }

  private CommandRun collect(String... more) {
    String[] args = new String[more.length + 3];
    args[0] = "collect";
    args[1] = folder.toString();
    args[2] = "--out=" + out;
    System.arraycopy(more, 0, args, 3, more.length);
    return CommandRun.of(args);
  }

  @Test
  void wholeDocuments() throws IOException {
    CommandRun run = collect();
    assertThat(run.err()).isEqualTo("llara: 1 file with other extensions skipped\n");
    assertThat(run.out()).isEqualTo(out + ": 2 documents\n");
    assertThat(run.code()).isZero();
    assertThat(Files.readAllLines(out))
        .containsExactly(
            "{\"_id\":\"a.md\",\"title\":\"Llamas\",\"text\":\"Llamas hum. They carry loads.\"}",
            "{\"_id\":\"b.txt\",\"title\":\"b\",\"text\":\"The cow is big.\"}");
  }

  @Test
  void passagesThatSearchFinds() {
    CommandRun run = collect("--model=" + Stories.dir(), "--passage-tokens=14");
    assertThat(run.out()).isEqualTo(out + ": 2 documents in 3 passages\n");

    CommandRun search =
        CommandRun.of(
            "search",
            "--model=" + Stories.dir(),
            "--corpus=" + out,
            "--no-cache",
            "--threads=1",
            "loads");
    assertThat(search.code()).isZero();
    assertThat(search.lines()).hasSize(3);
    assertThat(search.out()).contains("a.md#1", "a.md#2", "b.txt#1");
  }

  @Test
  void badFilesEndItOrAreCounted() throws IOException {
    Files.write(folder.resolve("latin.txt"), new byte[] {(byte) 0xE9});
    CommandRun refused = collect();
    assertThat(refused.code()).isEqualTo(2);
    assertThat(refused.err())
        .isEqualTo("llara collect: " + folder.resolve("latin.txt") + ": is not UTF-8\n");
    assertThat(out).doesNotExist();

    CommandRun skipped = collect("--skip-bad-files");
    assertThat(skipped.code()).isZero();
    assertThat(skipped.err()).contains("llara: 1 file that could not be used\n");
    assertThat(skipped.out()).isEqualTo(out + ": 2 documents\n");
  }

  @Test
  void theCollectionIsNoneOfItsTexts() throws IOException {
    Path text = Files.writeString(folder.resolve("a.txt"), "Ants.");
    for (Path target : List.of(text, folder.resolve("new.md"))) {
      CommandRun run = CommandRun.of("collect", folder.toString(), "--out=" + target);
      assertThat(run.code()).isEqualTo(2);
      assertThat(run.err()).contains("which FOLDER reads; choose another file");
    }
    assertThat(text).hasContent("Ants.");
    assertThat(folder.resolve("new.md")).doesNotExist();
    Path beside = folder.resolve("texts.jsonl");
    assertThat(CommandRun.of("collect", folder.toString(), "--out=" + beside).code()).isZero();
  }

  @Test
  void badUsage() {
    CommandRun lonely = collect("--passage-tokens=12");
    assertThat(lonely.code()).isEqualTo(2);
    assertThat(lonely.err())
        .isEqualTo(
            "llara collect: --passage-tokens needs --model, whose tokenizer measures them\n");
    CommandRun tiny = collect("--model=" + Stories.dir(), "--passage-tokens=7");
    assertThat(tiny.code()).isEqualTo(2);
    assertThat(tiny.err()).contains("--passage-tokens is 7; expected at least 8");
    CommandRun nowhere = CommandRun.of("collect", "--out=" + out);
    assertThat(nowhere.code()).isEqualTo(2);
    assertThat(nowhere.err()).contains("FOLDER");
    CommandRun missing = CommandRun.of("collect", dir.resolve("no").toString(), "--out=" + out);
    assertThat(missing.code()).isEqualTo(2);
    assertThat(missing.err()).contains("does not exist; expected a folder of text files");
  }
}
