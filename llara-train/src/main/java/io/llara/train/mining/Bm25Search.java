package io.llara.train.mining;

import io.llara.LlaraException;
import io.llara.retrieval.Bm25Index;
import io.llara.retrieval.Bm25Options;
import io.llara.train.mining.MiningListener.Stage;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;

/**
 * Searches by BM25, several queries at once.
 *
 * @param options the parameters of BM25
 * @param threads how many queries at once
 */
record Bm25Search(Bm25Options options, int threads) implements MiningSettings.Search {

  @Override
  public Map<String, String> described() {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("search", "BM25");
    values.put("k1", String.valueOf(options.k1()));
    values.put("b", String.valueOf(options.b()));
    return values;
  }

  @Override
  public Retriever open(Passages passages, MiningListener listener) {
    listener.progress(Stage.INDEX, 0, passages.count());
    Bm25Index index = Bm25Index.build(passages.corpus(), options);
    if (!index.digest().equals(passages.summary().digest())) {
      index.close();
      throw new LlaraException(passages.name() + ": changed while it was read");
    }
    listener.progress(Stage.INDEX, passages.count(), passages.count());
    return new Words(index, threads);
  }

  /** The search over an index. */
  private static final class Words implements Retriever {
    private final Bm25Index index;
    private final Workers workers;

    Words(Bm25Index index, int threads) {
      this.index = index;
      this.workers = new Workers(threads);
    }

    @Override
    public List<Answer> answer(List<Question> questions, int top) {
      return workers.map(
          questions,
          question ->
              new Answer(
                  index.search(question.text(), top),
                  question.positives().stream()
                      .map(positive -> score(question.text(), positive))
                      .toList()));
    }

    private OptionalDouble score(String query, Positive positive) {
      return positive.place() < 0 ? OptionalDouble.empty() : index.score(query, positive.place());
    }

    @Override
    public void close() {
      workers.close();
      index.close();
    }
  }
}
