package example;

import java.util.List;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.boot.CommandLineRunner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.actuate.health.HealthEndpoint;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Bean;

/** Embeds a question and two passages, prints their inner products and the health, and ends. */
@SpringBootConfiguration
@EnableAutoConfiguration
public class Application {
  public static void main(String[] args) {
    SpringApplication.run(Application.class, args).close();
  }

  @Bean
  CommandLineRunner embed(EmbeddingModel model, HealthEndpoint health) {
    return args -> {
      float[] query = model.embed("What is a llama?");
      List<String> passages =
          List.of(
              "The llama is a domesticated South American camelid.",
              "A lighthouse warns ships of rocks and shallows.");
      List<float[]> vectors = model.embed(passages);
      for (int i = 0; i < passages.size(); i++) {
        System.out.printf("product %.4f  %s%n", product(query, vectors.get(i)), passages.get(i));
      }
      System.out.println("health " + health.healthForPath("llara").getStatus());
    };
  }

  private static double product(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }
}
