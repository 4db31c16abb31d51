package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.testing.Stories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EncodeCorpusCommandTest {
  @TempDir private Path folder;
  private Path corpus;

  @BeforeEach
  void write() throws IOException {
    StringBuilder lines = new StringBuilder("{\"_id\": \"blank\", \"text\": \"\"}\n");
    for (int i = 0; i < 1_030; i++) {
      lines.append("{\"_id\": \"%d\", \"text\": \"text %d\"}\n".formatted(i, i));
    }
    corpus = Files.writeString(folder.resolve("corpus.jsonl"), lines);
  }

  @Test
  void shardsMergeIntoVectorsThatASearchTakes() throws IOException {
    Path first = folder.resolve("1");
    Path second = folder.resolve("2");
    Path all = folder.resolve("all");
    CommandRun run = encode(first, "--shard=1/2", "--storage=float16");
    assertThat(run.code()).as(run.err()).isZero();
    assertThat(run.out())
        .isEqualTo(first + ": the vectors of 1024 passages; 1 documents without text have none\n");
    encode(second, "--shard=2/2", "--storage=float16");
    CommandRun merged = CommandRun.of("merge-vectors", "--out=" + all, "" + second, "" + first);
    assertThat(merged.code()).as(merged.err()).isZero();
    assertThat(merged.out()).isEqualTo(all + ": 2 shards\n");

    CommandRun again = encode(second, "--shard=2/2", "--storage=float16");
    assertThat(again.err()).contains("6 of 6 passages were encoded before");

    CommandRun own = search("--cache=" + folder.resolve("cache"), "--storage=float16");
    CommandRun taken = search("--cache=" + folder.resolve("other"), "--vectors=" + all);
    assertThat(taken.code()).as(taken.err()).isZero();
    assertThat(taken.out()).isEqualTo(own.out());
    assertThat(search("--vectors=" + all, "--searcher=hnsw").lines()).hasSize(30);
    assertThat(folder.resolve("all.m16-ef200.hnsw")).isDirectory();
  }

  @Test
  void whatDoesNotFitIsRefusedInWords() throws IOException {
    Path first = folder.resolve("1");
    Path cut = folder.resolve("cut");
    encode(first, "--shard=1/2");
    assertRefused(encode(folder.resolve("x"), "--shard=3/2"), "--shard", "shard 3 of 2");
    assertRefused(encode(folder.resolve("x"), "--shard=half"), "--shard", "as in 1/4");
    assertRefused(encode(folder.resolve("x"), "--storage=int4"), "--storage");
    assertRefused(encode(corpus), "--corpus", "choose another file");
    assertRefused(encode(first, "--shard=2/2"), first + ": the shard is 1/2; expected 2/2");
    assertRefused(
        CommandRun.of("merge-vectors", "--out=" + folder.resolve("x"), "" + first),
        "2/2 is missing");
    assertRefused(
        CommandRun.of("merge-vectors", "--out=" + first, "" + first), "SHARD", "another file");
    assertRefused(search("--vectors=" + first), first + ": the shard is 1/2; expected 1/1");
    assertRefused(search("--vectors=" + first, "--no-cache"), "--no-cache and --vectors");
    Files.write(cut, Arrays.copyOf(Files.readAllBytes(first), 9_000));
    assertRefused(search("--vectors=" + cut), cut.toString(), "it has 9000 bytes; expected ");
    assertThat(folder.resolve("x")).doesNotExist();
  }

  private static void assertRefused(CommandRun run, String... words) {
    assertThat(run.code()).isEqualTo(2);
    assertThat(run.bytes()).isEmpty();
    assertThat(run.err()).contains(words).doesNotContain("Exception");
  }

  private CommandRun encode(Path out, String... more) {
    return run("encode-corpus", List.of("--out=" + out, "--model=" + Stories.dir()), more);
  }

  private CommandRun search(String... more) {
    return run("search", List.of("text 17", "--top=30", "--model=" + Stories.dir()), more);
  }

  private CommandRun run(String command, List<String> usual, String... more) {
    List<String> arguments = new ArrayList<>(List.of(command, "--corpus=" + corpus));
    arguments.addAll(usual);
    arguments.addAll(List.of("--template=" + "llara-paper", "--threads=1"));
    arguments.addAll(List.of(more));
    return CommandRun.of(arguments.toArray(String[]::new));
  }
}
