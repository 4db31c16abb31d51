package io.llara.spring;

import static java.util.Objects.requireNonNull;

import io.llara.EncodedTexts;
import io.llara.Encoder;
import io.llara.Mode;
import io.micrometer.observation.ObservationRegistry;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.metadata.DefaultUsage;
import org.springframework.ai.chat.metadata.EmptyUsage;
import org.springframework.ai.chat.metadata.Usage;
import org.springframework.ai.document.Document;
import org.springframework.ai.embedding.Embedding;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.embedding.EmbeddingOptions;
import org.springframework.ai.embedding.EmbeddingRequest;
import org.springframework.ai.embedding.EmbeddingResponse;
import org.springframework.ai.embedding.EmbeddingResponseMetadata;
import org.springframework.ai.embedding.observation.DefaultEmbeddingModelObservationConvention;
import org.springframework.ai.embedding.observation.EmbeddingModelObservationContext;
import org.springframework.ai.embedding.observation.EmbeddingModelObservationConvention;
import org.springframework.ai.embedding.observation.EmbeddingModelObservationDocumentation;

/**
 * Spring AI's embedding model over an {@link Encoder}, which the caller closes.
 *
 * <p>Queries and passages have different embeddings. A request with {@link LlaraEmbeddingOptions}
 * says which its texts are. Without them {@link #embed(String)} embeds a query and everything else
 * passages: that is what Spring AI's vector stores call to search and to add.
 *
 * <p>The texts of a request are encoded in batches by number of tokens. Each request is an
 * observation of Spring AI, with provider {@code llara}. Errors are those of {@link
 * Encoder#encodeAll(List, Mode)}. Thread-safe.
 */
public final class LlaraEmbeddingModel implements EmbeddingModel {
  private static final EmbeddingModelObservationConvention DEFAULT_CONVENTION =
      new DefaultEmbeddingModelObservationConvention();

  private final Encoder encoder;
  private final String name;
  private final ObservationRegistry observations;
  private final @Nullable EmbeddingModelObservationConvention convention;

  /** Creates a model without observations, which responses call {@code llara}. */
  public LlaraEmbeddingModel(Encoder encoder) {
    this(encoder, "llara", ObservationRegistry.NOOP, null);
  }

  /**
   * Creates a model.
   *
   * @param name what responses call it
   * @param convention how observations are named; null for Spring AI's convention
   */
  public LlaraEmbeddingModel(
      Encoder encoder,
      String name,
      ObservationRegistry observations,
      @Nullable EmbeddingModelObservationConvention convention) {
    this.encoder = requireNonNull(encoder, "encoder");
    this.name = requireNonNull(name, "name");
    this.observations = requireNonNull(observations, "observations");
    this.convention = convention;
  }

  /**
   * Embeds the texts of a request.
   *
   * @throws IllegalArgumentException if the request asks for another number of dimensions than the
   *     encoder's, or a text is blank
   */
  @Override
  public EmbeddingResponse call(EmbeddingRequest request) {
    EmbeddingModelObservationContext context =
        EmbeddingModelObservationContext.builder()
            .embeddingRequest(request)
            .provider("llara")
            .build();
    return EmbeddingModelObservationDocumentation.EMBEDDING_MODEL_OPERATION
        .observation(convention, DEFAULT_CONVENTION, () -> context, observations)
        .observe(
            () -> {
              EmbeddingResponse response = encode(request);
              context.setResponse(response);
              return response;
            });
  }

  private EmbeddingResponse encode(EmbeddingRequest request) {
    EmbeddingOptions options = request.getOptions();
    requireDimensions(options == null ? null : options.getDimensions());
    boolean query = options == LlaraEmbeddingOptions.QUERY;
    Encoder kind = query ? encoder.forQueries() : encoder.forPassages();
    Mode mode = query ? encoder.modes().query() : encoder.modes().passage();
    EncodedTexts encoded = kind.encodeAndCount(request.getInstructions(), mode);
    List<float[]> vectors = encoded.embeddings();
    return new EmbeddingResponse(
        IntStream.range(0, vectors.size())
            .mapToObj(index -> new Embedding(vectors.get(index), index))
            .toList(),
        new EmbeddingResponseMetadata(name, usage(encoded.tokens())));
  }

  private void requireDimensions(@Nullable Integer dimensions) {
    if (dimensions != null && dimensions != dimensions()) {
      throw new IllegalArgumentException(
          "%d dimensions are asked for; this encoder has %d: set the dimension of the encoder"
              .formatted(dimensions, dimensions()));
    }
  }

  /** An encoder without a tokenizer does not know how many tokens ran. */
  private static Usage usage(OptionalLong tokens) {
    return tokens.isPresent() ? new DefaultUsage((int) tokens.getAsLong(), 0) : new EmptyUsage();
  }

  /** Embeds a query. */
  @Override
  public float[] embed(String text) {
    return call(new EmbeddingRequest(List.of(text), LlaraEmbeddingOptions.QUERY))
        .getResult()
        .getOutput();
  }

  /** Embeds the text of a document as a passage; its metadata is left out. */
  @Override
  public float[] embed(Document document) {
    return embed(List.of(requireNonNull(document.getText(), "the document has no text"))).get(0);
  }

  @Override
  public int dimensions() {
    return encoder.dimension();
  }
}
