package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.testing.Directories;
import io.llara.testing.Stories;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SearchCommandTest {
  private static final String CORPUS =
      """
      {"_id": "a", "title": "Llamas", "text": "They live\\nhigh up."}
      {"_id": "b", "title": "", "text": " "}
      {"_id": "c", "text": "A lighthouse warns ships."}
      {"_id": "d", "title": "Dough", "text": ""}
      {"_id": "e", "title": "\\t", "text": ""}
      """;

  @TempDir private Path folder;

  @Test
  void findsTenOfTheBundledTexts() {
    CommandRun run = search("animals of the mountains");
    assertThat(run.code()).isZero();
    assertThat(run.lines()).hasSize(10);
    List<Double> scores = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      String line = run.lines().get(i);
      assertThat(line).matches("\\d+ +-?\\d\\.\\d{4} .*\\S");
      String[] parts = line.split(" +", 3);
      assertThat(parts[0]).isEqualTo(Integer.toString(i + 1));
      scores.add(Double.valueOf(parts[1]));
    }
    assertThat(scores).isSortedAccordingTo((a, b) -> Double.compare(b, a));
    assertThat(run.err()).isEmpty();
  }

  @Test
  void searchesInAnyWay() throws IOException {
    CommandRun exact = search("animals of the mountains");
    // The graph keeps more candidates than there are texts.
    assertThat(search("animals of the mountains", "--searcher=hnsw").out()).isEqualTo(exact.out());
    CommandRun words =
        search("lighthouse", "--searcher=bm25", "--corpus=" + write("corpus.jsonl", CORPUS));
    assertThat(words.code()).isZero();
    assertThat(words.lines()).hasSize(1);
    assertThat(words.out()).contains("  c  A lighthouse warns ships.");
    CommandRun hybrid =
        search(
            "lighthouse",
            "--searcher=hybrid",
            "--fusion=zscore",
            "--weight=0.1",
            "--corpus=" + folder.resolve("corpus.jsonl"));
    assertThat(hybrid.lines()).hasSize(3);
    assertThat(hybrid.lines().get(0)).contains("  c  A lighthouse warns ships.");
  }

  @Test
  void usesItsCacheAndGivesTheSame() throws IOException {
    CommandRun first = search("animals");
    Path cached = onlyCacheFile();
    byte[] content = Files.readAllBytes(cached);
    // Progress is shown where passages are encoded: now they are not.
    CommandRun second = search("animals", "--progress");
    assertThat(second.err()).doesNotContain("encoding");
    assertThat(second.out()).isEqualTo(first.out());
    assertThat(Files.readAllBytes(cached)).isEqualTo(content);
    CommandRun without = search("animals", "--no-cache");
    assertThat(without.out()).isEqualTo(first.out());
    assertThat(cacheFiles()).hasSize(1);
  }

  @Test
  void replacesADamagedCache() throws IOException {
    CommandRun first = search("animals");
    Path cached = onlyCacheFile();
    byte[] good = Files.readAllBytes(cached);
    byte[] flipped = good.clone();
    flipped[good.length / 2] ^= 1;
    for (byte[] bad : List.of(flipped, new byte[0], Arrays.copyOf(good, good.length - 5))) {
      Files.write(cached, bad);
      CommandRun run = search("animals");
      assertThat(run.code()).isZero();
      assertThat(run.out()).isEqualTo(first.out());
      assertThat(run.err()).contains("damaged");
      assertThat(Files.readAllBytes(cached)).isEqualTo(good);
    }
  }

  @Test
  void whateverVectorsDependOnHasItsOwnCache() throws IOException {
    Path model = Stories.dir();
    Path corpus = write("corpus.jsonl", CORPUS);
    Path other = write("other.jsonl", CORPUS.replace("ships", "boats"));
    String template = "--template=" + "llara-paper";
    List<String[]> runs =
        List.of(
            new String[] {"--model=" + model, template, "--corpus=" + corpus},
            new String[] {"--model=" + model, template, "--corpus=" + other},
            new String[] {"--model=" + model, template, "--corpus=" + corpus, "--max-tokens=100"},
            new String[] {"--model=" + changed(model), template, "--corpus=" + corpus});
    for (int i = 0; i < runs.size(); i++) {
      assertThat(search("animals", runs.get(i)).code()).isZero();
      assertThat(cacheFiles()).hasSize(i + 1);
    }
    // The same model in another place is the same.
    Path copy = Directories.copy(Stories.dir(), folder.resolve("copy"));
    search("animals", "--model=" + copy, template, "--corpus=" + corpus);
    assertThat(cacheFiles()).hasSize(runs.size());
  }

  @Test
  void goesOnWithoutACacheThatCannotBeWritten() throws IOException {
    Path file = write("not-a-directory", "");
    CommandRun run =
        CommandRun.of(
            "search", "--model=" + Stories.dir(), "--cache=" + file.resolve("in-it"), "animals");
    assertThat(run.code()).isZero();
    assertThat(run.lines()).hasSize(10);
    assertThat(run.err()).contains("cannot be cached");
  }

  @Test
  void skipsAndNamesBlankDocuments() throws IOException {
    CommandRun run = search("x", "--corpus=" + write("corpus.jsonl", CORPUS));
    assertThat(run.code()).isZero();
    assertThat(run.lines()).hasSize(3);
    assertThat(run.err()).contains("neither title nor text: 2 (b, e)");
    assertThat(run.out()).contains("  a  Llamas: They live high up.");
  }

  @Test
  void readsGzip() throws IOException {
    Path zipped = folder.resolve("corpus.jsonl.gz");
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(zipped))) {
      out.write(CORPUS.getBytes(StandardCharsets.UTF_8));
    }
    CommandRun plain = search("x", "--corpus=" + write("corpus.jsonl", CORPUS));
    assertThat(search("x", "--corpus=" + zipped).out()).isEqualTo(plain.out());
  }

  @Test
  void namesTheLineThatIsNoDocument() throws IOException {
    Path broken = write("broken.jsonl", CORPUS + "{\"_id\": \"f\", \"text\": \"x\"");
    LlaraTest.assertRefused(search("x", "--corpus=" + broken), "broken.jsonl:6: ");
    Path other = write("other.jsonl", "{\"id\": \"f\", \"text\": \"x\"}\n");
    LlaraTest.assertRefused(search("x", "--corpus=" + other), ":1: key '_id' is missing");
    String[][] wrong = {
      {
        "{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\": \"a\", \"text\": \"y\"}",
        ":2: repeats the id 'a'"
      },
      {"{\"_id\": \"\", \"text\": \"x\"}", ":1: key '_id' is blank"},
      {"{\"_id\": 5, \"text\": \"x\"}", ":1: key '_id' is 5; expected a string"},
      {"{\"_id\": \"a\", \"text\": true}", ":1: key 'text' is true; expected a string"},
      {"{\"_id\": \"a\", \"_id\": \"b\", \"text\": \"x\"}", "the key '_id' occurs twice"},
    };
    for (String[] one : wrong) {
      LlaraTest.assertRefused(search("x", "--corpus=" + write("wrong.jsonl", one[0])), one[1]);
    }
    LlaraTest.assertRefused(search("x", "--corpus=nowhere"), "nowhere");
    LlaraTest.assertRefused(search(" ", "--corpus=" + other), "blank");
    LlaraTest.assertRefused(search("x", "--top=0"), "--top");
    Path empty = write("empty.jsonl", "");
    LlaraTest.assertRefused(search("x", "--corpus=" + empty), "no document");
  }

  @Test
  void showsProgressOnlyWhenAsked() {
    assertThat(search("x", "--no-cache", "--progress").err()).contains("encoding").contains("100%");
    assertThat(search("x", "--no-cache").err()).doesNotContain("encoding");
  }

  private CommandRun search(String query, String... options) {
    // One lane and float32: the batches, and so the last bits, are the same in every run.
    List<String> args = new ArrayList<>(List.of("search", "--threads=1", "--dtype=float32"));
    args.add("--cache=" + cache());
    if (Stream.of(options).noneMatch(option -> option.startsWith("--model="))) {
      args.add("--model=" + Stories.dir());
    }
    args.addAll(List.of(options));
    args.add(query);
    return CommandRun.of(args.toArray(String[]::new));
  }

  private Path cache() {
    return folder.resolve("cache");
  }

  private Path write(String name, String content) throws IOException {
    return Files.writeString(folder.resolve(name), content);
  }

  private List<Path> cacheFiles() throws IOException {
    try (Stream<Path> files = Files.list(cache())) {
      return files.toList();
    }
  }

  private Path onlyCacheFile() throws IOException {
    assertThat(cacheFiles()).hasSize(1);
    return cacheFiles().get(0);
  }

  /** Returns a copy of a model with the last bit of its weights changed. */
  private Path changed(Path model) throws IOException {
    Path copy = Files.createDirectory(folder.resolve("changed"));
    try (Stream<Path> files = Files.list(model)) {
      for (Path file : files.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    Path weights = copy.resolve("model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    bytes[bytes.length - 4] ^= 1;
    Files.write(weights, bytes);
    return copy;
  }
}
