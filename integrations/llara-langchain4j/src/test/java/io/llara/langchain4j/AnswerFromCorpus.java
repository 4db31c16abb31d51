package io.llara.langchain4j;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.langchain4j.data.document.Document;
import dev.langchain4j.data.document.Metadata;
import dev.langchain4j.data.document.splitter.DocumentSplitters;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.rag.content.retriever.ContentRetriever;
import dev.langchain4j.rag.content.retriever.EmbeddingStoreContentRetriever;
import dev.langchain4j.service.AiServices;
import dev.langchain4j.service.Result;
import dev.langchain4j.store.embedding.EmbeddingStore;
import dev.langchain4j.store.embedding.EmbeddingStoreIngestor;
import dev.langchain4j.store.embedding.inmemory.InMemoryEmbeddingStore;
import io.llara.Encoder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Retrieval-augmented generation with LangChain4j, to copy from: documents with metadata are
 * ingested into a store in memory, and an assistant answers from the passages that are found.
 *
 * <p>Arguments: a corpus in BEIR's format and a question.
 */
final class AnswerFromCorpus {
  /** What answers. */
  interface Assistant {
    Result<String> answer(String question);
  }

  private AnswerFromCorpus() {}

  public static void main(String[] args) throws IOException {
    try (Encoder encoder = Encoder.loadDefault()) {
      Assistant assistant = assistant(encoder, Path.of(args[0]), new QuotingModel());
      Result<String> result = assistant.answer(args[1]);
      System.out.println(result.content());
      result.sources().forEach(source -> System.out.println(source.textSegment().metadata()));
    }
  }

  static Assistant assistant(Encoder encoder, Path corpus, ChatModel chatModel) throws IOException {
    EmbeddingModel embeddingModel = LlaraEmbeddingModel.builder().encoder(encoder).build();
    EmbeddingStore<TextSegment> store = new InMemoryEmbeddingStore<>();
    LlaraTokenCountEstimator tokens = new LlaraTokenCountEstimator(encoder);
    EmbeddingStoreIngestor.builder()
        .documentSplitter(DocumentSplitters.recursive(tokens.longestSegment(), 16, tokens))
        .embeddingModel(embeddingModel)
        .embeddingStore(store)
        .build()
        .ingest(documents(corpus));
    ContentRetriever retriever =
        EmbeddingStoreContentRetriever.builder()
            .embeddingModel(embeddingModel)
            .embeddingStore(store)
            .maxResults(3)
            .build();
    return AiServices.builder(Assistant.class)
        .chatModel(chatModel)
        .contentRetriever(retriever)
        .build();
  }

  private static List<Document> documents(Path corpus) throws IOException {
    return Files.readAllLines(corpus).stream()
        .map(line -> JsonParser.parseString(line).getAsJsonObject())
        .map(json -> Document.from(text(json, "text"), Metadata.from("title", text(json, "title"))))
        .toList();
  }

  private static String text(JsonObject json, String key) {
    return json.get(key).getAsString();
  }

  /** Stands in for a language model, which is not at hand here: quotes the best passage. */
  static final class QuotingModel implements ChatModel {
    @Override
    public ChatResponse doChat(ChatRequest request) {
      UserMessage prompt = (UserMessage) request.messages().get(request.messages().size() - 1);
      // The question, an instruction and the passages, as LangChain4j puts them together.
      String passages = prompt.singleText().split("information:\\n", 2)[1];
      return ChatResponse.builder().aiMessage(AiMessage.from(passages.split("\\n\\n")[0])).build();
    }
  }
}
