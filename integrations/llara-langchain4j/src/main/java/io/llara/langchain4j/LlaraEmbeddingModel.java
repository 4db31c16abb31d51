package io.llara.langchain4j;

import static java.util.Objects.requireNonNull;

import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.listener.EmbeddingModelListener;
import dev.langchain4j.model.embedding.request.EmbeddingInput;
import dev.langchain4j.model.embedding.request.EmbeddingInputType;
import dev.langchain4j.model.embedding.request.EmbeddingParameter;
import dev.langchain4j.model.embedding.request.EmbeddingRequest;
import dev.langchain4j.model.embedding.request.EmbeddingRequestParameters;
import dev.langchain4j.model.embedding.response.EmbeddingResponse;
import dev.langchain4j.model.output.Response;
import dev.langchain4j.model.output.TokenUsage;
import io.llara.BundledModel;
import io.llara.EncodedTexts;
import io.llara.Encoder;
import io.llara.Mode;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * LangChain4j's embedding model over an {@link Encoder}.
 *
 * <pre>{@code
 * try (LlaraEmbeddingModel model = LlaraEmbeddingModel.builder().build()) {
 *   EmbeddingStoreIngestor.builder().embeddingModel(model).embeddingStore(store).build().ingest(documents);
 *   ContentRetriever retriever =
 *       EmbeddingStoreContentRetriever.builder().embeddingModel(model).embeddingStore(store).build();
 * }
 * }</pre>
 *
 * <p>Queries and documents have different embeddings. The input type of a request decides: {@code
 * QUERY} is {@link Encoder#forQueries}, {@code DOCUMENT} is {@link Encoder#forPassages}, each in
 * its mode of {@link Encoder#modes}. Where a call gives no type, {@link #embed(String)} embeds a
 * query and everything else documents: that is what LangChain4j's retrievers and ingestors call.
 * {@link Builder#inputType} sets one type for all of these.
 *
 * <p>The texts of a request are encoded in batches by number of tokens. A request for other
 * dimensions is refused, as the length of the embeddings is the encoder's. Errors are those of
 * {@link Encoder#encodeAll(List, Mode)}. Thread-safe.
 */
public final class LlaraEmbeddingModel implements EmbeddingModel, AutoCloseable {
  private final Encoder encoder;
  private final boolean ownsEncoder;
  private final String modelName;
  private final EmbeddingRequestParameters defaults;
  private final List<EmbeddingModelListener> listeners;

  private LlaraEmbeddingModel(Builder builder) {
    ownsEncoder = builder.encoder == null;
    modelName = builder.modelName();
    encoder = builder.encoder == null ? Encoder.loadDefault() : builder.encoder;
    defaults = EmbeddingRequestParameters.builder().inputType(builder.inputType).build();
    listeners = builder.listeners;
  }

  /** Returns a builder; without any setting it makes a model of {@link Encoder#loadDefault}. */
  public static Builder builder() {
    return new Builder();
  }

  @Override
  public Response<Embedding> embed(String text) {
    EmbeddingInputType type = defaults.inputType();
    EmbeddingResponse response =
        embed(
            EmbeddingRequest.builder()
                .input(text)
                .inputType(type == null ? EmbeddingInputType.QUERY : type)
                .build());
    return Response.from(response.embeddings().get(0), response.tokenUsage());
  }

  @Override
  public EmbeddingResponse doEmbed(EmbeddingRequest request) {
    boolean query = request.inputType() == EmbeddingInputType.QUERY;
    Encoder kind = query ? encoder.forQueries() : encoder.forPassages();
    Mode mode = query ? encoder.modes().query() : encoder.modes().passage();
    List<String> texts = request.inputs().stream().map(EmbeddingInput::text).toList();
    EncodedTexts encoded = kind.encodeAndCount(texts, mode);
    OptionalLong tokens = encoded.tokens();
    return EmbeddingResponse.builder()
        .embeddings(encoded.embeddings().stream().map(Embedding::from).toList())
        .modelName(modelName)
        .tokenUsage(tokens.isPresent() ? new TokenUsage((int) tokens.getAsLong()) : null)
        .build();
  }

  @Override
  public Set<EmbeddingParameter<?>> supportedParameters() {
    return Set.of(EmbeddingRequestParameters.INPUT_TYPE);
  }

  @Override
  public EmbeddingRequestParameters defaultRequestParameters() {
    return defaults;
  }

  @Override
  public List<EmbeddingModelListener> listeners() {
    return listeners;
  }

  @Override
  public int dimension() {
    return encoder.dimension();
  }

  @Override
  public String modelName() {
    return modelName;
  }

  /** Closes the encoder if this model loaded it; one that was given stays open. */
  @Override
  public void close() {
    if (ownsEncoder) {
      encoder.close();
    }
  }

  /** Settings of a {@link LlaraEmbeddingModel}, all of them optional. */
  public static final class Builder {
    private @Nullable Encoder encoder;
    private @Nullable String modelName;
    private @Nullable EmbeddingInputType inputType;
    private List<EmbeddingModelListener> listeners = List.of();

    private Builder() {}

    /**
     * Sets the encoder, which the caller closes; by default the model on the class path, which the
     * embedding model closes.
     */
    public Builder encoder(Encoder encoder) {
      this.encoder = requireNonNull(encoder, "encoder");
      return this;
    }

    /**
     * Sets what responses call the model; by default the name of the model on the class path, or
     * {@code llara} for a given encoder.
     */
    public Builder modelName(String modelName) {
      this.modelName = requireNonNull(modelName, "modelName");
      return this;
    }

    /**
     * Sets the type of all texts for which a call gives none, those of {@code embed(String)} too.
     */
    public Builder inputType(EmbeddingInputType inputType) {
      this.inputType = requireNonNull(inputType, "inputType");
      return this;
    }

    /** Sets the listeners that hear of each request, its response or its error. */
    public Builder listeners(List<EmbeddingModelListener> listeners) {
      this.listeners = List.copyOf(listeners);
      return this;
    }

    /**
     * Makes the model.
     *
     * @throws io.llara.ModelLoadException if no encoder is set and there is no usable model on the
     *     class path
     */
    public LlaraEmbeddingModel build() {
      return new LlaraEmbeddingModel(this);
    }

    private String modelName() {
      if (modelName != null) {
        return modelName;
      }
      return encoder == null ? BundledModel.find().name() : "llara";
    }
  }
}
