package io.llara.langchain4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.request.EmbeddingInputType;
import dev.langchain4j.model.embedding.request.EmbeddingRequest;
import dev.langchain4j.model.embedding.response.EmbeddingResponse;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.TextModes;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class LlaraEmbeddingModelTest {
  private static final String TEXT = "Once upon a time there was a little dog.";
  private static Encoder encoder;
  private static EmbeddingModel model;

  @BeforeAll
  static void open() {
    encoder = Encoder.builder(Stories.dir()).queryMaxTokens(32).passageMaxTokens(64).build();
    model = LlaraEmbeddingModel.builder().encoder(encoder).build();
  }

  @AfterAll
  static void close() {
    encoder.close();
  }

  @Test
  void inputTypesAreModes() {
    assertThat(vector(EmbeddingInputType.QUERY)).isEqualTo(encoder.encodeQuery(TEXT));
    assertThat(vector(EmbeddingInputType.DOCUMENT)).isEqualTo(encoder.encodePassage(TEXT));
  }

  @Test
  void withoutTypeStringsAreQueriesAndSegmentsDocuments() {
    assertThat(model.embed(TEXT).content().vector()).isEqualTo(encoder.encodeQuery(TEXT));
    assertThat(model.embed(TextSegment.from(TEXT)).content().vector())
        .isEqualTo(encoder.encodePassage(TEXT));
    assertThat(model.embedAll(List.of(TextSegment.from(TEXT))).content().get(0).vector())
        .isEqualTo(encoder.encodePassage(TEXT));
  }

  @Test
  void aTypeOfTheBuilderIsForAllThatGiveNone() {
    EmbeddingModel queries =
        LlaraEmbeddingModel.builder()
            .encoder(encoder)
            .inputType(EmbeddingInputType.QUERY)
            .modelName("stories")
            .build();
    assertThat(queries.embed(TextSegment.from(TEXT)).content().vector())
        .isEqualTo(encoder.encodeQuery(TEXT));
    assertThat(queries.modelName()).isEqualTo("stories");

    EmbeddingModel documents =
        LlaraEmbeddingModel.builder()
            .encoder(encoder)
            .inputType(EmbeddingInputType.DOCUMENT)
            .build();
    assertThat(documents.embed(TEXT).content().vector()).isEqualTo(encoder.encodePassage(TEXT));
  }

  @Test
  void theEncodersModesAreObeyed() {
    try (Encoder alike = Encoder.builder(Stories.dir()).modes(TextModes.S2S).build()) {
      EmbeddingModel same = LlaraEmbeddingModel.builder().encoder(alike).build();
      assertThat(same.embed(TEXT).content().vector())
          .isEqualTo(same.embed(TextSegment.from(TEXT)).content().vector());
    }
  }

  @Test
  void manyTextsHaveTheVectorsOfOneCallOfTheEncoder() {
    List<String> texts = Texts.random(100, 40, 7);
    EmbeddingResponse response =
        model.embed(
            EmbeddingRequest.builder()
                .textSegments(texts.stream().map(TextSegment::from).toList())
                .build());
    assertThat(response.embeddings())
        .extracting(Embedding::vector)
        .containsExactlyElementsOf(encoder.forPassages().encodeAll(texts, Mode.SELF));
  }

  @Test
  void countsTheTokensThatRan() {
    String tooLong = TEXT.repeat(20);
    long before = encoder.statistics().tokens();
    EmbeddingResponse response =
        model.embed(EmbeddingRequest.builder().inputs(TEXT, tooLong).build());
    long ran = encoder.statistics().tokens() - before;
    assertThat(response.tokenUsage().inputTokenCount()).isEqualTo((int) ran);
    assertThat(ran).isEqualTo(encoder.countTokens(TEXT, Mode.SELF) + 64);
    assertThat(response.modelName()).isEqualTo("llara");
  }

  @Test
  void anEncoderWithoutTokenizerHasNoTokenCounts() {
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
    EmbeddingResponse response =
        LlaraEmbeddingModel.builder()
            .encoder(fake)
            .build()
            .embed(EmbeddingRequest.builder().input("four").build());
    assertThat(response.embeddings().get(0).vector()).containsExactly(4, Mode.SELF.ordinal());
    assertThat(response.tokenUsage()).isNull();
  }

  @Test
  void aBlankTextIsNamedByItsIndex() {
    EmbeddingRequest request = EmbeddingRequest.builder().inputs(TEXT, " ").build();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> model.embed(request))
        .withMessageStartingWith("text 1: the text is blank");
  }

  @Test
  void closesOnlyTheEncoderThatItLoaded() {
    Encoder own = Encoder.load(Stories.dir());
    LlaraEmbeddingModel.builder().encoder(own).build().close();
    assertThat(own.encodeQuery(TEXT)).hasSize(own.dimension());
    own.close();

    LlaraEmbeddingModel loaded = LlaraEmbeddingModel.builder().build();
    assertThat(loaded.modelName()).isEqualTo("llara-mini");
    assertThat(loaded.dimension()).isEqualTo(576);
    loaded.close();
    assertThatIllegalStateException().isThrownBy(() -> loaded.embed(TEXT));
  }

  private static float[] vector(EmbeddingInputType type) {
    return model
        .embed(EmbeddingRequest.builder().input(TEXT).inputType(type).build())
        .embeddings()
        .get(0)
        .vector();
  }
}
