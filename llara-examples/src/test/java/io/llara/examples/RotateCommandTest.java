package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.testing.Stories;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RotateCommandTest {
  @TempDir private Path dir;

  private static String texts(int count) {
    return IntStream.range(0, count)
        .mapToObj(i -> "Lily saw " + "a bird and ".repeat(i % 9) + i + " trees")
        .collect(Collectors.joining("\n"));
  }

  @Test
  void writesAModelWhoseVectorsHaveTheSameLength() {
    Path out = dir.resolve("out");

    CommandRun run =
        CommandRun.withInput(texts(70), "rotate", "--model=" + Stories.dir(), "--out=" + out, "-");

    assertThat(run.code()).as(run.err()).isEqualTo(Llara.OK);
    assertThat(run.out()).startsWith(out + ": ").contains("with rotated vectors");
    try (Encoder encoder =
        Encoder.builder(out).computeType(ComputeType.FLOAT32).dimension(16).threads(1).build()) {
      assertThat(encoder.encodePassage("a bird")).hasSize(16);
    }
  }

  @Test
  void tooFewTextsAreRefusedAndNothingIsWritten() {
    Path out = dir.resolve("out");
    CommandRun run =
        CommandRun.withInput(texts(9), "rotate", "--model=" + Stories.dir(), "--out=" + out, "-");

    LlaraTest.assertRefused(run, "there are 9 texts that are not blank; expected at least 64");
    assertThat(out).doesNotExist();
  }
}
