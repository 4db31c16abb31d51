package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import org.apache.lucene.codecs.KnnVectorsFormat;
import org.apache.lucene.codecs.bitvectors.HnswBitVectorsFormat;
import org.apache.lucene.codecs.lucene912.Lucene912Codec;
import org.apache.lucene.codecs.lucene99.Lucene99HnswScalarQuantizedVectorsFormat;
import org.apache.lucene.codecs.lucene99.Lucene99HnswVectorsFormat;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.KnnByteVectorField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.KnnByteVectorQuery;
import org.apache.lucene.search.KnnFloatVectorQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.store.Directory;
import org.junit.jupiter.api.Test;

/** Recall@10 of the ways to keep 1,000 vectors of 2,048 components in a Lucene index. */
class LuceneVectorsTest {
  private static final int K = 10;
  private static final int CANDIDATES = 50;
  private static final List<float[]> VECTORS = Synthetic.embeddings(1_000, 2);
  private static final List<float[]> QUERIES = Synthetic.embeddings(20, 3);

  /** Of what the index finds by itself and, of 50 candidates, rescored. */
  private record Recall(double found, double rescored) {}

  @Test
  void float32() throws IOException {
    Recall recall = recall(LuceneVectors.config(new Lucene99HnswVectorsFormat()), this::floats);
    assertThat(recall.found()).isGreaterThan(0.95);
  }

  @Test
  void int8() throws IOException {
    KnnVectorsFormat format = new Lucene99HnswScalarQuantizedVectorsFormat();
    Recall recall = recall(LuceneVectors.config(format), this::floats);
    assertThat(recall.found()).isGreaterThan(0.9);
    assertThat(recall.rescored()).isGreaterThan(0.95);
  }

  @Test
  void int4() throws IOException {
    KnnVectorsFormat format =
        new Lucene99HnswScalarQuantizedVectorsFormat(16, 100, 1, 4, true, null, null);
    Recall recall = recall(LuceneVectors.config(format), this::floats);
    assertThat(recall.rescored()).isGreaterThan(0.95).isGreaterThan(recall.found());
  }

  @Test
  void bits() throws IOException {
    Lucene912Codec codec =
        new Lucene912Codec() {
          @Override
          public KnnVectorsFormat getKnnVectorsFormatForField(String field) {
            return field.equals("bits")
                ? new HnswBitVectorsFormat()
                : new LuceneVectors.AnyDimensions(new Lucene99HnswVectorsFormat());
          }
        };
    Recall recall =
        recall(
            new IndexWriterConfig().setCodec(codec),
            query -> new KnnByteVectorQuery("bits", signs(query), CANDIDATES));
    assertThat(recall.rescored()).isGreaterThan(0.9).isGreaterThan(recall.found());
  }

  private Query floats(float[] query) {
    return new KnnFloatVectorQuery("vector", query, CANDIDATES);
  }

  private static Recall recall(IndexWriterConfig config, Function<float[], Query> search)
      throws IOException {
    boolean bits = search.apply(QUERIES.get(0)) instanceof KnnByteVectorQuery;
    try (Directory directory = new ByteBuffersDirectory()) {
      try (IndexWriter writer = new IndexWriter(directory, config)) {
        for (float[] vector : VECTORS) {
          Document entry = new Document();
          entry.add(LuceneVectors.vector(vector));
          if (bits) {
            entry.add(new KnnByteVectorField("bits", signs(vector)));
          }
          writer.addDocument(entry);
        }
      }
      double found = 0;
      double rescored = 0;
      try (IndexReader reader = DirectoryReader.open(directory)) {
        for (float[] query : QUERIES) {
          Query nearest = search.apply(query);
          ScoreDoc[] hits = new IndexSearcher(reader).search(nearest, K).scoreDocs;
          found += Synthetic.recall(query, VECTORS, K, ids(Arrays.asList(hits)));
          List<ScoreDoc> again = LuceneVectors.rescored(reader, nearest, CANDIDATES, query);
          rescored += Synthetic.recall(query, VECTORS, K, ids(again));
        }
      }
      return new Recall(found / QUERIES.size(), rescored / QUERIES.size());
    }
  }

  /** Documents are numbered as they were added. */
  private static List<Integer> ids(List<ScoreDoc> hits) {
    return hits.stream().map(hit -> hit.doc).toList();
  }

  /** Returns a bit a component: whether it is positive. */
  private static byte[] signs(float[] vector) {
    byte[] bits = new byte[vector.length / 8];
    for (int i = 0; i < vector.length; i++) {
      bits[i / 8] |= (byte) (vector[i] > 0 ? 1 << i % 8 : 0);
    }
    return bits;
  }
}
