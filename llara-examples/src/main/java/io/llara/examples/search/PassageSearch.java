package io.llara.examples.search;

import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.train.retrieval.Corpus;
import io.llara.train.retrieval.Document;
import io.llara.train.retrieval.PassageDigest;
import io.llara.train.retrieval.VectorCache;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * Finds the passages of a collection that are nearest to a query. The vectors of the passages come
 * from a cache, or are made and put there. The collection is streamed, never held.
 */
public final class PassageSearch {
  private final Encoder encoder;
  private final Corpus corpus;
  private final Corpus.Summary summary;
  private final Consumer<String> notes;

  /**
   * A passage found.
   *
   * @param score its cosine with the query
   * @param document the document
   */
  public record Found(double score, Document document) {}

  /**
   * Where vectors are kept.
   *
   * @param vectors the cache
   * @param entry the vectors of this collection under this encoder
   */
  public record CachePlace(VectorCache vectors, VectorCache.Entry entry) {}

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
    this.summary = summary;
    this.notes = notes;
  }

  /**
   * Returns the key of this collection's vectors: of everything that they depend on.
   *
   * @param model the fingerprint of the model
   * @param version the version of this library
   */
  public VectorCache.Entry cacheEntry(String model, String version) {
    String key =
        VectorCache.key(
            List.of(
                "passages",
                version,
                model,
                encoder.template().toJson(),
                encoder.computeType().name(),
                "max tokens " + encoder.maxTokens(),
                "dimension " + encoder.dimension(),
                summary.digest()));
    return new VectorCache.Entry(key, summary.documents(), encoder.dimension());
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
    BestPassages best = new BestPassages(encoder.encode(query, Mode.NEXT), limit);
    if (cache.isEmpty()) {
      encodePassages(best::offer);
    } else if (!readCached(cache.get(), best)) {
      encodeInto(cache.get(), best);
    }
    return documents(best.ranked());
  }

  private boolean readCached(CachePlace cache, BestPassages best) {
    VectorCache.Outcome outcome = cache.vectors().read(cache.entry(), best::offer);
    if (outcome == VectorCache.Outcome.DAMAGED) {
      best.clear();
      notes.accept(
          "the cached vectors in %s are damaged and are made anew"
              .formatted(cache.vectors().file(cache.entry())));
    }
    return outcome == VectorCache.Outcome.FOUND;
  }

  private void encodeInto(CachePlace cache, BestPassages best) {
    // A cache that cannot be written costs time, not the result.
    try (VectorCache.Writer writer = cache.vectors().write(cache.entry())) {
      IOException[] failure = new IOException[1];
      encodePassages(
          (index, vector) -> {
            best.offer(index, vector);
            if (failure[0] == null) {
              try {
                writer.add(vector);
              } catch (IOException e) {
                failure[0] = e;
              }
            }
          });
      if (failure[0] != null) {
        throw failure[0];
      }
      writer.commit();
    } catch (IOException e) {
      notes.accept("the vectors cannot be cached: " + e);
      if (best.ranked().isEmpty()) {
        encodePassages(best::offer);
      }
    }
  }

  private void encodePassages(VectorCache.Receiver receiver) {
    PassageDigest digest = new PassageDigest();
    try (Stream<Document> documents = corpus.documents()) {
      encoder.encodeAll(
          documents.map(Document::passage).peek(digest::add),
          Mode.SELF,
          (index, text, vector) -> receiver.accept(index, vector));
    }
    if (!digest.value().equals(summary.digest())) {
      throw new LlaraException(corpus.name() + ": changed while it was read");
    }
  }

  private List<Found> documents(List<BestPassages.Hit> hits) {
    Map<Long, Document> byIndex = new HashMap<>();
    long last = hits.stream().mapToLong(BestPassages.Hit::index).max().orElse(-1);
    try (Stream<Document> documents = corpus.documents()) {
      Iterator<Document> iterator = documents.iterator();
      for (long index = 0; index <= last && iterator.hasNext(); index++) {
        Document document = iterator.next();
        long here = index;
        if (hits.stream().anyMatch(hit -> hit.index() == here)) {
          byIndex.put(index, document);
        }
      }
    }
    List<Found> found = new ArrayList<>();
    for (BestPassages.Hit hit : hits) {
      Document document = byIndex.get(hit.index());
      if (document == null) {
        throw new LlaraException(corpus.name() + ": changed while it was read");
      }
      found.add(new Found(hit.score(), document));
    }
    return found;
  }
}
