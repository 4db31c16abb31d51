package io.llara.retrieval;

import io.llara.LlaraException;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Search by BM25, with an index of the collection in a temporary folder.
 *
 * @param options the parameters of BM25
 */
public record Bm25Search(Bm25Options options) implements SearchMethod {

  @Override
  public Searcher open(TextSet passages, SearchListener listener) {
    Bm25Index index = Bm25Index.build(passages.source(), options);
    if (!index.digest().equals(passages.digest())) {
      index.close();
      throw new LlaraException(passages.name() + ": changed while it was read");
    }
    return index;
  }

  @Override
  public Map<String, String> settings() {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("search", "BM25");
    values.put("k1", String.valueOf(options.k1()));
    values.put("b", String.valueOf(options.b()));
    return values;
  }
}
