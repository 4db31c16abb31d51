package io.llara.langchain4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.langchain4j.rag.content.Content;
import dev.langchain4j.service.Result;
import io.llara.Encoder;
import io.llara.langchain4j.AnswerFromCorpus.QuotingModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AnswerFromCorpusTest {
  private static final Path CORPUS =
      Path.of("../../llara-examples/src/main/resources/io/llara/examples/demo/corpus.jsonl");

  @TempDir private Path temporary;

  @Test
  void answersFromSampleTexts() throws IOException {
    // The first twenty, for time.
    Path corpus = temporary.resolve("corpus.jsonl");
    Files.write(corpus, Files.readAllLines(CORPUS).subList(0, 20));
    try (Encoder encoder = Encoder.loadDefault()) {
      AnswerFromCorpus.Assistant assistant =
          AnswerFromCorpus.assistant(encoder, corpus, new QuotingModel());
      Result<String> result = assistant.answer("Why do I cry when I chop onions?");
      assertThat(result.content()).contains("onion").contains("tears");
      assertThat(result.sources())
          .hasSize(3)
          .extracting(Content::textSegment)
          .extracting(segment -> segment.metadata().getString("title"))
          .startsWith("Why onions make you cry");
    }
  }
}
