package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.retrieval.Document;
import io.llara.retrieval.DocumentIndex;
import io.llara.retrieval.SearchHit;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The model that is in the jar of llara-mini, on the bundled texts. */
class DefaultEncoderTest {
  private static Encoder encoder;
  private static DocumentIndex index;

  @BeforeAll
  static void load() {
    encoder = Encoder.loadDefault();
    index = DocumentIndex.temporary(encoder);
    try (Stream<Document> documents = Demo.corpus().documents()) {
      index.addAll(documents);
    }
  }

  @AfterAll
  static void close() {
    index.close();
    encoder.close();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "how do llamas carry loads|Llamas",
        "Why do I cry when I chop onions?|Why onions make you cry",
        "How long should I hold a burn under water?|First aid for burns",
        "what makes the colours of a rainbow|How rainbows form",
        "my bike has a puncture, what now|Fixing a flat tyre",
        "why is Mars red|Mars",
        "when is a football player offside|The offside rule",
        "How does a vaccine protect us?|Vaccines",
        "how do bats find insects in the dark|Bats and echoes",
        "Who were the first people on the Moon?|The first Moon landing"
      })
  void answersEverydayQuestions(String question, String title) {
    assertThat(index.search(question, 3))
        .extracting(SearchHit::document)
        .extracting(Document::title)
        .contains(title);
  }

  /** As GPUs compute it, on a device that is the processor in disguise (docs/gpu.md). */
  @Test
  void itsVectorsInFloat8AreNearThoseInFloat32() {
    List<String> texts = List.of("how do llamas carry loads", "Why do I cry when I chop onions?");
    EncoderBuilder builder = Encoder.builder();
    try (Encoder whole = builder.computeType(ComputeType.FLOAT32).build();
        Encoder rounded = builder.computeType(ComputeType.FLOAT8).device("neutral").build()) {
      List<float[]> expected = whole.encodeAll(texts, Mode.NEXT);
      List<float[]> actual = rounded.encodeAll(texts, Mode.NEXT);
      for (int i = 0; i < texts.size(); i++) {
        assertThat(Similarity.cosine(actual.get(i), expected.get(i))).isBetween(0.99, 0.9999);
      }
    }
  }
}
