package io.llara.spring;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.micrometer.observation.tck.TestObservationRegistry;
import io.micrometer.observation.tck.TestObservationRegistryAssert;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.ai.chat.metadata.EmptyUsage;
import org.springframework.ai.document.Document;
import org.springframework.ai.embedding.EmbeddingOptions;
import org.springframework.ai.embedding.EmbeddingRequest;
import org.springframework.ai.embedding.EmbeddingResponse;

class LlaraEmbeddingModelTest {
  private static final String TEXT = "Once upon a time there was a little dog.";
  private static Encoder encoder;
  private static LlaraEmbeddingModel model;

  @BeforeAll
  static void open() {
    encoder = Encoder.builder(Stories.dir()).queryMaxTokens(32).passageMaxTokens(64).build();
    model = new LlaraEmbeddingModel(encoder);
  }

  @AfterAll
  static void close() {
    encoder.close();
  }

  @Test
  void aStringIsAQueryAndADocumentAPassage() {
    assertThat(model.embed(TEXT)).isEqualTo(encoder.encodeQuery(TEXT));
    assertThat(model.embed(new Document(TEXT))).isEqualTo(encoder.encodePassage(TEXT));
    assertThat(model.embed(List.of(TEXT)).get(0)).isEqualTo(encoder.encodePassage(TEXT));
    assertThat(model.embedForResponse(List.of(TEXT)).getResult().getOutput())
        .isEqualTo(encoder.encodePassage(TEXT));
  }

  @Test
  void optionsSayWhatTheTextsAre() {
    assertThat(vector(LlaraEmbeddingOptions.QUERY)).isEqualTo(encoder.encodeQuery(TEXT));
    assertThat(vector(LlaraEmbeddingOptions.PASSAGE)).isEqualTo(encoder.encodePassage(TEXT));
  }

  private static float[] vector(EmbeddingOptions options) {
    return model.call(new EmbeddingRequest(List.of(TEXT), options)).getResult().getOutput();
  }

  @Test
  void documentsOfAStoreAreEmbeddedInBatches() {
    List<Document> documents = Texts.random(50, 40, 5).stream().map(Document::new).toList();
    List<float[]> vectors =
        model.embed(
            documents, EmbeddingOptions.builder().build(), new LlaraBatchingStrategy(encoder, 256));
    assertThat(vectors).hasSize(50);
    for (int i = 0; i < 50; i++) {
      float[] alone = encoder.encodePassage(documents.get(i).getText());
      assertThat(Similarity.cosine(vectors.get(i), alone)).isGreaterThan(0.999999);
    }
  }

  @Test
  void theEncodersDimensionAndNoOther() {
    assertThat(model.dimensions()).isEqualTo(encoder.dimension());
    EmbeddingOptions same = EmbeddingOptions.builder().dimensions(encoder.dimension()).build();
    assertThat(vector(same)).hasSize(encoder.dimension());
    EmbeddingOptions fewer = EmbeddingOptions.builder().dimensions(8).build();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> vector(fewer))
        .withMessage(
            "8 dimensions are asked for; this encoder has 64: set the dimension of the encoder");
  }

  @Test
  void usageIsTheTokensThatRan() {
    long before = encoder.statistics().tokens();
    EmbeddingResponse response = model.embedForResponse(List.of(TEXT, TEXT.repeat(20)));
    long ran = encoder.statistics().tokens() - before;
    assertThat(response.getMetadata().getUsage().getPromptTokens()).isEqualTo((int) ran);
    assertThat(response.getMetadata().getUsage().getTotalTokens()).isEqualTo((int) ran);
    assertThat(ran).isEqualTo(encoder.countTokens(TEXT, Mode.SELF) + 64);
    assertThat(response.getResults()).extracting(result -> result.getIndex()).containsExactly(0, 1);
  }

  @Test
  void anEncoderWithoutTokenizerHasNoUsage() {
    Encoder fake =
        new Encoder() {
          @Override
          public float[] encode(String text, Mode mode) {
            return new float[] {text.length(), mode.ordinal()};
          }

          @Override
          public int dimension() {
            return 2;
          }
        };
    EmbeddingResponse response = new LlaraEmbeddingModel(fake).embedForResponse(List.of("four"));
    assertThat(response.getResult().getOutput()).containsExactly(4, Mode.SELF.ordinal());
    assertThat(response.getMetadata().getUsage()).isInstanceOf(EmptyUsage.class);
  }

  @Test
  void aRequestIsAnObservation() {
    TestObservationRegistry observations = TestObservationRegistry.create();
    EmbeddingResponse response =
        new LlaraEmbeddingModel(encoder, "stories", observations, null)
            .embedForResponse(List.of(TEXT));
    TestObservationRegistryAssert.assertThat(observations)
        .hasObservationWithNameEqualTo("gen_ai.client.operation")
        .that()
        .hasLowCardinalityKeyValue("gen_ai.operation.name", "embedding")
        .hasLowCardinalityKeyValue("gen_ai.system", "llara")
        .hasLowCardinalityKeyValue("gen_ai.response.model", "stories")
        .hasHighCardinalityKeyValue(
            "gen_ai.usage.input_tokens",
            String.valueOf(response.getMetadata().getUsage().getPromptTokens()))
        .hasBeenStarted()
        .hasBeenStopped();
  }

  @Test
  void anObservationHearsOfErrors() {
    TestObservationRegistry observations = TestObservationRegistry.create();
    LlaraEmbeddingModel observed = new LlaraEmbeddingModel(encoder, "stories", observations, null);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> observed.embed(List.of(TEXT, " ")))
        .withMessageStartingWith("text 1: the text is blank");
    TestObservationRegistryAssert.assertThat(observations)
        .hasSingleObservationThat()
        .hasError()
        .hasBeenStopped();
  }
}
