package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.testing.Stories;
import io.llara.train.teacher.TeacherVectors;
import io.llara.train.teacher.TextKind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TeachCommandTest {
  @TempDir private Path dir;
  private Path pairs;
  private Path vectors;

  @BeforeEach
  void prepare() throws IOException {
    List<String> lines = new ArrayList<>();
    for (String animal : List.of("dog", "bird", "cat", "fish", "bear", "frog")) {
      lines.add(
          "{\"query\": \"where is the %s\", \"pos\": [\"the %s is in the park\"], \"neg\": [\"a red ball\"]}"
              .formatted(animal, animal));
    }
    pairs = Files.write(dir.resolve("pairs.jsonl"), lines);
    vectors = dir.resolve("pairs.teacher.safetensors");
  }

  private CommandRun teach(String... more) {
    List<String> args =
        new ArrayList<>(
            List.of("teach", "--model=" + Stories.dir(), "--texts=" + pairs, "--out=" + vectors));
    args.addAll(Arrays.asList(more));
    return CommandRun.of(args.toArray(String[]::new));
  }

  private CommandRun finetune(Path out, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "finetune",
                "--model=" + Stories.dir(),
                "--pairs=" + pairs,
                "--out=" + out,
                "--negatives=1",
                "--batch=4",
                "--steps=2",
                "--dtype=float32"));
    args.addAll(Arrays.asList(more));
    return CommandRun.of(args.toArray(String[]::new));
  }

  @Test
  void fromATeacherToAModel() throws IOException {
    CommandRun taught = teach("--dtype=float32", "--max-tokens=64");
    assertThat(taught.code()).as(taught.err()).isZero();
    assertThat(taught.out())
        .isEqualTo("%s: vectors of 6 queries and 7 passages%n".formatted(vectors));
    try (TeacherVectors found = TeacherVectors.open(List.of(vectors));
        Encoder encoder = Encoder.load(Stories.dir())) {
      assertThat(
              Similarity.cosine(
                  found.vector(TextKind.QUERY, "where is the dog").orElseThrow(),
                  encoder.encode("where is the dog", Mode.NEXT)))
          .isCloseTo(1, within(1e-3));
      assertThat(
              Similarity.cosine(
                  found.vector(TextKind.PASSAGE, "a red ball").orElseThrow(),
                  encoder.encode("a red ball", Mode.SELF)))
          .isCloseTo(1, within(1e-3));
    }
    assertThat(SafetensorsFile.open(vectors).metadata().get("teacher")).contains("n2s", "64");

    Path out = dir.resolve("out");
    CommandRun tuned =
        finetune(
            out,
            "--teacher=" + vectors,
            "--distil-weights=2,0.5",
            "--teacher-temperature=0.1",
            "--infonce-weight=0",
            "--matryoshka=16,32:0.5");
    assertThat(tuned.code()).as(tuned.err()).isZero();
    assertThat(tuned.err())
        .contains("cosine_loss ", "similarity_loss ", "infonce_loss ", "accuracy_16 ");
    String run = Files.readString(out.resolve("run.json"));
    assertThat(run)
        .contains(
            "\"weights\": \"InfoNCE 0.0, cosine 2.0, similarity 0.5, scores 0.0\"",
            "\"teacher temperature\": \"0.1\"",
            "\"matryoshka\": \"16:1.0,32:0.5\"",
            vectors + " (SHA-256 ");
    assertThat(Files.readAllBytes(out.resolve("loss.png"))).startsWith(0x89, 'P', 'N', 'G');
  }

  private static void assertRefused(CommandRun run, String... parts) {
    LlaraTest.assertRefused(run, parts[0]);
    assertThat(run.err()).contains(parts);
  }

  @Test
  void whatIsWrongIsNamedAndNothingIsWritten() throws IOException {
    Files.writeString(pairs, "{\"query\": \"a\"}\n{\"id\": 3}");
    assertRefused(teach(), pairs + ":2");
    Files.delete(pairs);
    assertRefused(teach(), pairs + ": does not exist");
    Files.writeString(pairs, "{\"query\": \"a\"}");
    vectors = pairs;
    assertRefused(teach(), "--texts", "choose another file");
    try (var files = Files.list(dir)) {
      assertThat(files).containsExactly(pairs);
    }
  }

  @Test
  void optionsThatDoNotGoTogetherAreNamed() throws IOException {
    Path out = dir.resolve("out");
    assertRefused(finetune(out, "--distil-weights=1,1"), "give --teacher FILE too");
    assertRefused(
        finetune(out, "--teacher=" + vectors, "--distil-weights=1"), "two numbers as in 1,1");
    assertRefused(
        finetune(out, "--teacher=" + vectors, "--distil-weights=0,0"), "their weights are 0");
    assertRefused(finetune(out, "--infonce-weight=0"), "no teacher");
    assertRefused(finetune(out, "--matryoshka=64,x"), "--matryoshka is x", "64,128,256");
    assertRefused(finetune(out, "--matryoshka=1000"), "1000 dimensions", "have 64");
    assertRefused(finetune(out, "--score-weight=1"), pairs + ":1", "pos_scores");
    assertRefused(finetune(out, "--teacher=" + vectors), vectors.toString(), "no such file");
    Files.writeString(vectors, "no vectors");
    assertRefused(finetune(out, "--teacher=" + vectors), vectors.toString());
    assertThat(out).doesNotExist();
  }
}
