package io.llara.examples.search;

import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.CorpusVectors;
import io.llara.retrieval.CorpusVectors.CachePlace;
import io.llara.retrieval.Document;
import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.InMemoryVectors;
import io.llara.retrieval.TextSet;
import io.llara.retrieval.UnitVectors;
import io.llara.retrieval.VectorSet;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * Finds the passages of a collection that are nearest to a query by cosine. The vectors of the
 * passages come from a cache, or are made. The collection is streamed, never held.
 */
public final class PassageSearch {
  private final Encoder encoder;
  private final Corpus corpus;
  private final TextSet passages;
  private final Consumer<String> notes;

  /**
   * A passage found.
   *
   * @param score its cosine with the query
   * @param document the document
   */
  public record Found(double score, Document document) {}

  /**
   * Creates a search.
   *
   * @param encoder embeds query and passages; the caller closes it
   * @param corpus the collection
   * @param summary what {@link Corpus#summarize} said of it
   * @param notes told what a user should know
   */
  public PassageSearch(
      Encoder encoder, Corpus corpus, Corpus.Summary summary, Consumer<String> notes) {
    this.encoder = encoder;
    this.corpus = corpus;
    this.passages = TextSet.of(corpus, summary);
    this.notes = notes;
  }

  /**
   * Returns the passages nearest to a query, best first.
   *
   * @param query the query
   * @param limit how many
   * @param cache where the vectors are kept, if they are
   * @throws LlaraException if a text cannot be encoded, or the collection changes meanwhile
   */
  public List<Found> best(String query, int limit, Optional<CachePlace> cache) {
    InMemoryVectors queries = InMemoryVectors.of(encoder.encode(query, Mode.NEXT));
    try (CorpusVectors vectors = vectors(cache);
        ExactSearch search = new ExactSearch(encoder.lanes())) {
      Hits hits = search.search(unit(queries), unit(vectors), limit).get(0);
      return documents(hits);
    }
  }

  private VectorSet unit(VectorSet vectors) {
    return encoder.normalizes() ? vectors : new UnitVectors(vectors);
  }

  private CorpusVectors vectors(Optional<CachePlace> cache) {
    return cache.isEmpty()
        ? CorpusVectors.open(passages, encoder, Mode.SELF)
        : CorpusVectors.open(passages, encoder, Mode.SELF, cache.get(), notes);
  }

  private List<Found> documents(Hits hits) {
    Set<Long> wanted = new HashSet<>(hits.indices().asList());
    Map<Long, Document> byIndex = new HashMap<>();
    try (Stream<Document> documents = corpus.documents()) {
      Iterator<Document> iterator = documents.iterator();
      for (long index = 0; byIndex.size() < wanted.size() && iterator.hasNext(); index++) {
        Document document = iterator.next();
        if (wanted.contains(index)) {
          byIndex.put(index, document);
        }
      }
    }
    List<Found> found = new ArrayList<>();
    for (int i = 0; i < hits.size(); i++) {
      Document document = byIndex.get(hits.indices().get(i));
      if (document == null) {
        throw new LlaraException(corpus.name() + ": changed while it was read");
      }
      found.add(new Found(hits.scores().get(i), document));
    }
    return found;
  }
}
