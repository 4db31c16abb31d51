package io.llara.langchain4j;

import static java.util.Objects.requireNonNull;

import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.model.TokenCountEstimator;
import io.llara.Encoder;
import io.llara.Mode;
import java.util.List;

/**
 * Counts tokens with an encoder's tokenizer, exactly: those of the text alone, without the prompt
 * around it. For splitters whose segments are to fit into the encoder:
 *
 * <pre>{@code
 * LlaraTokenCountEstimator tokens = new LlaraTokenCountEstimator(encoder);
 * DocumentSplitter splitter = DocumentSplitters.recursive(tokens.longestSegment(), 32, tokens);
 * }</pre>
 *
 * <p>Thread-safe; usable until the encoder is closed.
 */
public final class LlaraTokenCountEstimator implements TokenCountEstimator {
  private final Encoder encoder;
  private final Mode mode;

  /** Counts as the given encoder does. */
  public LlaraTokenCountEstimator(Encoder encoder) {
    this.encoder = requireNonNull(encoder, "encoder");
    this.mode = encoder.modes().passage();
  }

  /** Returns the most tokens of a document that fit into its prompt. */
  public int longestSegment() {
    return encoder.forPassages().maxTokens() - encoder.prompts().minimumTokens(mode) + 1;
  }

  @Override
  public int estimateTokenCountInText(String text) {
    return text.isBlank() ? 0 : encoder.prompts().build(text, mode, Integer.MAX_VALUE).textLength();
  }

  /** Counts the tokens of what a message says in words; tool calls and media do not count. */
  @Override
  public int estimateTokenCountInMessage(ChatMessage message) {
    return texts(message).stream().mapToInt(this::estimateTokenCountInText).sum();
  }

  @Override
  public int estimateTokenCountInMessages(Iterable<ChatMessage> messages) {
    int count = 0;
    for (ChatMessage message : messages) {
      count += estimateTokenCountInMessage(message);
    }
    return count;
  }

  private static List<String> texts(ChatMessage message) {
    if (message instanceof SystemMessage system) {
      return List.of(system.text());
    }
    if (message instanceof AiMessage answer) {
      return answer.text() == null ? List.of() : List.of(answer.text());
    }
    List<Content> contents = List.of();
    if (message instanceof UserMessage user) {
      contents = user.contents();
    } else if (message instanceof ToolExecutionResultMessage result) {
      contents = result.contents();
    }
    return contents.stream()
        .filter(TextContent.class::isInstance)
        .map(content -> ((TextContent) content).text())
        .toList();
  }
}
