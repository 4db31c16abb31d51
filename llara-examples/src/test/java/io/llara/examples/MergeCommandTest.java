package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.testing.Stories;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MergeCommandTest {
  @TempDir private Path dir;

  @Test
  void whatIsMissingIsNamedAndNothingIsWritten() {
    Path out = dir.resolve("out");
    LlaraTest.assertRefused(
        CommandRun.of("merge", "--model=" + Stories.dir(), "--out=" + out), "--adapter=DIR");
    LlaraTest.assertRefused(
        CommandRun.of(
            "merge", "--model=" + Stories.dir(), "--adapter=" + dir.resolve("a"), "--out=" + out),
        dir.resolve("a").toString());
    assertThat(out).doesNotExist();
  }
}
