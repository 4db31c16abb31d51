package io.llara.spark;

import io.llara.retrieval.ExactSearch;
import io.llara.retrieval.Hits;
import io.llara.retrieval.InMemoryVectors;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.jspecify.annotations.Nullable;

/**
 * What a task of a search does: finds the best of its partition, block by block. Among equal scores
 * an exact search prefers the smaller index, so that a block is sorted by id first.
 */
final class SearchPartition implements MapPartitionsFunction<IndexedVector, Row> {
  private static final long serialVersionUID = 1L;

  private static final long BLOCK_BYTES = 64L << 20;

  /** As Spark compares strings: by code points, which UTF-16 does not above its surrogates. */
  private static final Comparator<@Nullable String> BY_CODE_POINTS =
      Comparator.nullsFirst(
          (a, b) -> {
            int end = Math.min(a.length(), b.length());
            for (int i = 0; i < end; i++) {
              if (a.charAt(i) != b.charAt(i)) {
                return Integer.compare(rank(a.charAt(i)), rank(b.charAt(i)));
              }
            }
            return Integer.compare(a.length(), b.length());
          });

  private static final Comparator<Id> BY_ID =
      Comparator.comparingLong(Id::number).thenComparing(Id::name, BY_CODE_POINTS);

  private static final Comparator<Found> BEST_FIRST =
      Comparator.comparingDouble(Found::score).reversed().thenComparing(Found::id, BY_ID);

  private final Broadcast<float[][]> queries;
  private final int k;

  private record Id(long number, @Nullable String name) {}

  private record Found(Id id, double score) {}

  SearchPartition(Broadcast<float[][]> queries, int k) {
    this.queries = queries;
    this.k = k;
  }

  /** Surrogates, of which code points above U+FFFF are made, come after all other characters. */
  private static int rank(char c) {
    return Character.isSurrogate(c) ? c + 0x10000 : c;
  }

  @Override
  public Iterator<Row> call(Iterator<IndexedVector> vectors) {
    InMemoryVectors wanted = new InMemoryVectors(List.of(queries.value()));
    List<List<Found>> best = new ArrayList<>();
    for (int i = 0; i < wanted.count(); i++) {
      best.add(List.of());
    }
    while (vectors.hasNext()) {
      List<IndexedVector> block = nextBlock(vectors);
      InMemoryVectors passages =
          new InMemoryVectors(block.stream().map(IndexedVector::getVector).toList());
      try (ExactSearch search = new ExactSearch(passages, 1)) {
        search.search(
            wanted,
            k,
            (query, hits) ->
                best.set((int) query, bestOf(best.get((int) query), found(block, hits))));
      }
    }
    return rows(best);
  }

  private static List<IndexedVector> nextBlock(Iterator<IndexedVector> vectors) {
    List<IndexedVector> block = new ArrayList<>();
    long bytes = 0;
    while (vectors.hasNext() && bytes < BLOCK_BYTES) {
      IndexedVector vector = vectors.next();
      block.add(vector);
      bytes += (long) vector.getVector().length * Float.BYTES;
    }
    block.sort(Comparator.comparing(SearchPartition::id, BY_ID));
    return block;
  }

  private static Id id(IndexedVector vector) {
    return new Id(vector.getNumber(), vector.getName());
  }

  private static List<Found> found(List<IndexedVector> block, Hits hits) {
    List<Found> found = new ArrayList<>(hits.size());
    for (int rank = 0; rank < hits.size(); rank++) {
      Id id = id(block.get((int) hits.indices().get(rank)));
      found.add(new Found(id, hits.scores().get(rank)));
    }
    return found;
  }

  private List<Found> bestOf(List<Found> before, List<Found> found) {
    List<Found> all = new ArrayList<>(before);
    all.addAll(found);
    Collections.sort(all, BEST_FIRST);
    return List.copyOf(all.subList(0, Math.min(k, all.size())));
  }

  private static Iterator<Row> rows(List<List<Found>> best) {
    List<Row> rows = new ArrayList<>();
    for (int query = 0; query < best.size(); query++) {
      for (Found found : best.get(query)) {
        rows.add(RowFactory.create(query, found.id().number(), found.id().name(), found.score()));
      }
    }
    return rows.iterator();
  }
}
