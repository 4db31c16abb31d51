package io.llara.server;

import com.google.gson.JsonArray;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import io.llara.Mode;
import io.llara.retrieval.Bm25Options;
import io.llara.retrieval.Bm25Search;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.Document;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.Query;
import io.llara.retrieval.SearchListener;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.TextSet;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.TreeSet;

/**
 * Searches a collection with queries in both modes, and by words. Its documents are held in memory.
 */
final class CorpusSearch implements AutoCloseable {
  private static final String WORDS = "bm25";

  private final List<Document> documents;
  private final Searcher vectors;
  private final Searcher words;

  private CorpusSearch(List<Document> documents, Searcher vectors, Searcher words) {
    this.documents = documents;
    this.vectors = vectors;
    this.words = words;
  }

  /** Encodes a collection, or takes its vectors from the cache, and indexes its words. */
  static CorpusSearch open(Corpus corpus, EmbeddingSearch search, SearchListener listener) {
    List<Document> documents = new ArrayList<>();
    Corpus.Summary summary =
        corpus.summarizeUnique(
            document -> {
              if (!document.isBlank()) {
                documents.add(document);
              }
            });
    TextSet passages = TextSet.of(corpus, summary);
    Searcher vectors = search.open(passages, listener);
    try {
      Searcher words = new Bm25Search(Bm25Options.DEFAULT).open(passages, listener);
      return new CorpusSearch(documents, vectors, words);
    } catch (RuntimeException | Error e) {
      vectors.close();
      throw e;
    }
  }

  int size() {
    return documents.size();
  }

  /**
   * Returns the best documents of each way to search, with their scores in all of them.
   *
   * @param embeddings the query in each mode
   */
  JsonObject search(String text, Map<Mode, float[]> embeddings, int k) {
    Map<String, Query> queries = new LinkedHashMap<>();
    embeddings.forEach(
        (mode, vector) -> queries.put(name(mode), Query.of(text).withVector(vector)));
    List<Hits> byVector = vectors.search(List.copyOf(queries.values()), k);
    Map<String, Hits> rankings = new LinkedHashMap<>();
    for (String name : queries.keySet()) {
      rankings.put(name, byVector.get(rankings.size()));
    }
    Query query = Query.of(text);
    queries.put(WORDS, query);
    rankings.put(WORDS, words.search(query, k));

    TreeSet<Long> found = new TreeSet<>();
    rankings.values().forEach(hits -> hits.indices().forEach(found::add));
    Map<Long, JsonObject> scores = scores(queries, List.copyOf(found));

    JsonObject answer = new JsonObject();
    answer.addProperty("query", text);
    rankings.forEach(
        (name, hits) -> {
          JsonArray list = new JsonArray();
          hits.indices()
              .forEach(
                  index -> {
                    Document document = documents.get((int) index);
                    JsonObject hit = new JsonObject();
                    hit.addProperty("id", document.id());
                    hit.addProperty("title", document.title());
                    hit.addProperty("text", document.text());
                    hit.add("scores", scores.get(index));
                    list.add(hit);
                  });
          answer.add(name, list);
        });
    return answer;
  }

  private static String name(Mode mode) {
    return mode == Mode.NEXT ? "next" : "self";
  }

  private Map<Long, JsonObject> scores(Map<String, Query> queries, List<Long> found) {
    Map<Long, JsonObject> scores = new LinkedHashMap<>();
    found.forEach(index -> scores.put(index, new JsonObject()));
    queries.forEach(
        (name, query) -> {
          List<Searcher.Candidate> candidates = new ArrayList<>();
          for (long index : found) {
            candidates.add(
                new Searcher.Candidate(query, index, documents.get((int) index).passage()));
          }
          List<OptionalDouble> all = (name.equals(WORDS) ? words : vectors).score(candidates);
          for (int i = 0; i < found.size(); i++) {
            JsonObject of = scores.get(found.get(i));
            if (of != null && all.get(i).isPresent()) {
              of.addProperty(name, all.get(i).getAsDouble());
            } else if (of != null) {
              of.add(name, JsonNull.INSTANCE);
            }
          }
        });
    return scores;
  }

  @Override
  public void close() {
    try (words) {
      vectors.close();
    }
  }
}
