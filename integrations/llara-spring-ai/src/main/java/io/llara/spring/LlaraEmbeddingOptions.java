package io.llara.spring;

import org.jspecify.annotations.Nullable;
import org.springframework.ai.embedding.EmbeddingOptions;

/** Says what the texts of a request are, which decides how they are embedded. */
public enum LlaraEmbeddingOptions implements EmbeddingOptions {
  /** Search queries: {@link io.llara.Encoder#forQueries}, in the mode of queries. */
  QUERY,
  /** Passages to be found: {@link io.llara.Encoder#forPassages}, in the mode of passages. */
  PASSAGE;

  /** Returns null: a request cannot choose the model. */
  @Override
  public @Nullable String getModel() {
    return null;
  }

  /** Returns null: the length of embeddings is the encoder's. */
  @Override
  public @Nullable Integer getDimensions() {
    return null;
  }
}
