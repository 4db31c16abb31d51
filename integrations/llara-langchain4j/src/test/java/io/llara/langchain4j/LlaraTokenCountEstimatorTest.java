package io.llara.langchain4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.data.document.Document;
import dev.langchain4j.data.document.splitter.DocumentSplitters;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.data.segment.TextSegment;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.testing.Stories;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class LlaraTokenCountEstimatorTest {
  private static final String TEXT = "Once upon a time there was a little dog.";
  private static Encoder encoder;
  private static LlaraTokenCountEstimator tokens;
  private static int count;

  @BeforeAll
  static void open() {
    encoder = Encoder.builder(Stories.dir()).maxTokens(64).build();
    tokens = new LlaraTokenCountEstimator(encoder);
    count = encoder.prompts().build(TEXT, Mode.SELF, 64).textLength();
  }

  @AfterAll
  static void close() {
    encoder.close();
  }

  @Test
  void countsTheTextWithoutItsPrompt() {
    assertThat(tokens.estimateTokenCountInText(TEXT))
        .isEqualTo(count)
        .isLessThan(encoder.countTokens(TEXT, Mode.SELF));
    assertThat(tokens.estimateTokenCountInText("")).isZero();
    assertThat(tokens.estimateTokenCountInText("\n\n")).isZero();
  }

  @Test
  void countsWhatMessagesSay() {
    ToolExecutionRequest call = ToolExecutionRequest.builder().name("clock").build();
    List<ChatMessage> messages =
        List.of(
            SystemMessage.from(TEXT),
            UserMessage.from(TextContent.from(TEXT), ImageContent.from("file:dog.png")),
            AiMessage.from(TEXT),
            AiMessage.from(call),
            ToolExecutionResultMessage.from(call, TEXT));
    assertThat(messages)
        .extracting(tokens::estimateTokenCountInMessage)
        .containsExactly(count, count, count, 0, count);
    assertThat(tokens.estimateTokenCountInMessages(messages)).isEqualTo(4 * count);
  }

  @Test
  void splitsSoThatEverySegmentFits() {
    Document document = Document.from((TEXT + " ").repeat(30));
    List<TextSegment> segments =
        DocumentSplitters.recursive(tokens.longestSegment(), 0, tokens).split(document);
    assertThat(segments)
        .hasSizeGreaterThan(3)
        .allSatisfy(s -> assertThat(encoder.countTokens(s.text(), Mode.SELF)).isBetween(33, 64));
  }
}
