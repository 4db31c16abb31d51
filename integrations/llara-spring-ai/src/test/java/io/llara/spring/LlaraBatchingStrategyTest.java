package io.llara.spring;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.springframework.ai.document.Document;

class LlaraBatchingStrategyTest {

  @Test
  void batchesAreAsFullAsTheyCanBe() {
    try (Encoder encoder = Encoder.builder(Stories.dir()).maxTokens(128).build()) {
      String longer = "There was a little dog who liked to play. ".repeat(20);
      List<Document> documents =
          Stream.concat(Texts.random(60, 40, 3).stream(), Stream.of(longer, "a dog"))
              .map(Document::new)
              .toList();
      List<List<Document>> batches = new LlaraBatchingStrategy(encoder, 100).batch(documents);

      assertThat(batches).hasSizeGreaterThan(5);
      assertThat(batches.stream().flatMap(List::stream)).containsExactlyElementsOf(documents);
      for (int i = 0; i < batches.size(); i++) {
        List<Document> batch = batches.get(i);
        assertThat(batch.size() == 1 || tokens(encoder, batch) <= 100).isTrue();
        if (i + 1 < batches.size()) {
          Document next = batches.get(i + 1).get(0);
          assertThat(tokens(encoder, batch) + tokens(encoder, List.of(next))).isGreaterThan(100);
        }
      }
      assertThat(batches).contains(List.of(documents.get(60)));
      assertThat(new LlaraBatchingStrategy(encoder, 100).batch(List.of())).isEmpty();
    }
  }

  private static int tokens(Encoder encoder, List<Document> documents) {
    return documents.stream()
        .mapToInt(document -> Math.min(128, encoder.countTokens(document.getText(), Mode.SELF)))
        .sum();
  }

  @Test
  void aBatchHoldsSomething() {
    try (Encoder encoder = Encoder.load(Stories.dir())) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> new LlaraBatchingStrategy(encoder, 0))
          .withMessage("maxTokens is 0; it must be positive");
    }
  }
}
