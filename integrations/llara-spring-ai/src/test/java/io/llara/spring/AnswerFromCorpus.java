package io.llara.spring;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.springframework.ai.document.Document;
import org.springframework.ai.embedding.BatchingStrategy;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.vectorstore.SearchRequest;
import org.springframework.ai.vectorstore.SimpleVectorStore;
import org.springframework.ai.vectorstore.VectorStore;
import org.springframework.boot.CommandLineRunner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Bean;

/**
 * A Spring Boot application to copy from: documents with metadata are added to a vector store, and
 * the passages that answer a question are found.
 *
 * <p>Arguments: a corpus in BEIR's format and a question.
 */
@SpringBootConfiguration
@EnableAutoConfiguration
class AnswerFromCorpus {
  public static void main(String[] args) {
    SpringApplication.run(AnswerFromCorpus.class, args).close();
  }

  @Bean
  VectorStore vectorStore(EmbeddingModel embeddingModel, BatchingStrategy batchingStrategy) {
    return SimpleVectorStore.builder(embeddingModel).batchingStrategy(batchingStrategy).build();
  }

  @Bean
  CommandLineRunner answer(VectorStore store) {
    return args -> {
      store.add(documents(Path.of(args[0])));
      for (Document found :
          store.similaritySearch(SearchRequest.builder().query(args[1]).topK(3).build())) {
        System.out.printf("%.4f  %s%n", found.getScore(), found.getMetadata().get("title"));
      }
    };
  }

  private static List<Document> documents(Path corpus) throws IOException {
    return Files.readAllLines(corpus).stream()
        .map(line -> JsonParser.parseString(line).getAsJsonObject())
        .map(json -> new Document(text(json, "text"), Map.of("title", text(json, "title"))))
        .toList();
  }

  private static String text(JsonObject json, String key) {
    return json.get(key).getAsString();
  }
}
