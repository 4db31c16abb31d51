package io.llara.spring;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.boot.test.system.CapturedOutput;
import org.springframework.boot.test.system.OutputCaptureExtension;

@ExtendWith(OutputCaptureExtension.class)
class AnswerFromCorpusTest {
  private static final Path CORPUS =
      Path.of("../../llara-examples/src/main/resources/io/llara/examples/demo/corpus.jsonl");

  @TempDir private Path temporary;

  @Test
  void findsThePassageThatAnswers(CapturedOutput output) throws IOException {
    // The first twenty, for time.
    Path corpus = temporary.resolve("corpus.jsonl");
    Files.write(corpus, Files.readAllLines(CORPUS).subList(0, 20));
    AnswerFromCorpus.main(new String[] {corpus.toString(), "Why do I cry when I chop onions?"});
    assertThat(output.getOut().lines().filter(line -> line.matches("0\\.\\d{4}  .*")))
        .hasSize(3)
        .first()
        .asString()
        .endsWith("  Why onions make you cry");
  }
}
