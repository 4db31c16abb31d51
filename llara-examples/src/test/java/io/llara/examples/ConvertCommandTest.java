package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.StorageType;
import io.llara.testing.Stories;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ConvertCommandTest {
  @TempDir private Path dir;

  @Test
  void aQuantisedModelBecomesOneInAFloatingType() {
    Path quantized = dir.resolve("quantized");
    Path out = dir.resolve("out");

    CommandRun.of("quantize", "--model=" + Stories.dir(), "--out=" + quantized);

    CommandRun run =
        CommandRun.of("convert", "--model=" + quantized, "--out=" + out, "--dtype=bfloat16");

    assertThat(run.code()).as(run.err()).isEqualTo(Llara.OK);
    assertThat(run.out()).startsWith(out + ": 5 layers");
    assertThat(CheckpointDirectory.open(out).weightType()).isEqualTo(StorageType.BF16);
    CommandRun again =
        CommandRun.of("quantize", "--model=" + out, "--out=" + dir.resolve("again"), "--bits=4");
    assertThat(again.code()).as(again.err()).isEqualTo(Llara.OK);
  }

  @Test
  void whatIsMissingIsNamedAndNothingIsWritten() {
    Path out = dir.resolve("out");
    LlaraTest.assertRefused(
        CommandRun.of("convert", "--model=" + dir.resolve("none"), "--out=" + out),
        dir.resolve("none").toString());
    LlaraTest.assertRefused(
        CommandRun.of("convert", "--model=" + Stories.dir(), "--out=" + out, "--dtype=int8"),
        "--dtype");
    assertThat(out).doesNotExist();
  }
}
