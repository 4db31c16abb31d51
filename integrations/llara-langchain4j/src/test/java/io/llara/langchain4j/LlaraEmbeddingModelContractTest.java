package io.llara.langchain4j;

import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.embedding.common.AbstractEmbeddingModelIT;
import dev.langchain4j.model.embedding.listener.EmbeddingModelListener;
import io.llara.Encoder;
import io.llara.testing.Stories;
import java.util.List;
import org.junit.jupiter.api.AfterAll;

/** LangChain4j's own contract of embedding models. */
class LlaraEmbeddingModelContractTest extends AbstractEmbeddingModelIT {
  private final Encoder encoder = Encoder.load(Stories.dir());

  @AfterAll
  void close() {
    encoder.close();
  }

  @Override
  protected List<EmbeddingModel> models() {
    return List.of(LlaraEmbeddingModel.builder().encoder(encoder).build());
  }

  @Override
  protected EmbeddingModel modelWith(EmbeddingModelListener listener) {
    return LlaraEmbeddingModel.builder().encoder(encoder).listeners(List.of(listener)).build();
  }

  @Override
  protected EmbeddingModel failingModelWith(EmbeddingModelListener listener) {
    Encoder closed = Encoder.load(Stories.dir());
    closed.close();
    return LlaraEmbeddingModel.builder().encoder(closed).listeners(List.of(listener)).build();
  }

  @Override
  protected boolean supportsDimensionsParameter() {
    return false;
  }

  @Override
  protected boolean supportsImageInput() {
    return false;
  }
}
