package io.llara.train.mining;

import io.llara.LlaraException;
import io.llara.train.mining.MiningListener.Stage;
import io.llara.train.retrieval.Bm25Index;
import io.llara.train.retrieval.Bm25Options;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;

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
    values.put("search", "bm25");
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
    private final ExecutorService threads;

    Words(Bm25Index index, int count) {
      this.index = index;
      this.threads =
          Executors.newFixedThreadPool(
              count,
              work -> {
                Thread thread = new Thread(work, "llara-bm25");
                thread.setDaemon(true);
                return thread;
              });
    }

    @Override
    public List<Answer> answer(List<Question> questions, int top) {
      List<Callable<Answer>> tasks =
          questions.stream()
              .map(question -> (Callable<Answer>) () -> answer(question, top))
              .collect(Collectors.toList());
      try {
        List<Answer> answers = new java.util.ArrayList<>();
        for (Future<Answer> answer : threads.invokeAll(tasks)) {
          answers.add(answer.get());
        }
        return answers;
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new LlaraException("the mining was interrupted; nothing was written", e);
      } catch (ExecutionException e) {
        throw new LlaraException("the search by BM25 failed: " + e.getCause().getMessage(), e);
      }
    }

    private Answer answer(Question question, int top) {
      return new Answer(
          index.search(question.text(), top),
          question.positives().stream().map(positive -> score(question.text(), positive)).toList());
    }

    private OptionalDouble score(String query, Positive positive) {
      return positive.place() < 0
          ? OptionalDouble.empty()
          : index.score(query, positive.place());
    }

    @Override
    public void close() {
      // No search is under way: those of a batch that was interrupted were cancelled.
      threads.shutdownNow();
      index.close();
    }
  }
}
