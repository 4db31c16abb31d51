package io.llara.retrieval;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Search in two ways whose rankings become one, such as by embeddings and by words. See {@link
 * HybridSearcher}.
 *
 * @param first one way
 * @param second the other
 * @param fusion how their rankings become one
 */
public record HybridSearch(SearchMethod first, SearchMethod second, Fusion fusion)
    implements SearchMethod {

  @Override
  public Searcher open(TextSet passages, SearchListener listener) {
    Searcher one = first.open(passages, listener);
    try {
      return new HybridSearcher(one, second.open(passages, listener), fusion);
    } catch (RuntimeException | Error e) {
      one.close();
      throw e;
    }
  }

  @Override
  public Map<String, String> settings() {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("search", "hybrid");
    values.put("fusion", fusion.toString());
    first.settings().forEach((name, value) -> values.put("first " + name, value));
    second.settings().forEach((name, value) -> values.put("second " + name, value));
    return values;
  }
}
