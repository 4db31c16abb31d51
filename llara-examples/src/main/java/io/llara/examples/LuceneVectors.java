package io.llara.examples;

import io.llara.Encoder;
import io.llara.retrieval.Document;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.apache.lucene.codecs.KnnVectorsFormat;
import org.apache.lucene.codecs.KnnVectorsReader;
import org.apache.lucene.codecs.KnnVectorsWriter;
import org.apache.lucene.codecs.lucene912.Lucene912Codec;
import org.apache.lucene.codecs.lucene99.Lucene99HnswScalarQuantizedVectorsFormat;
import org.apache.lucene.document.KnnFloatVectorField;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.FloatVectorValues;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.ReaderUtil;
import org.apache.lucene.index.SegmentReadState;
import org.apache.lucene.index.SegmentWriteState;
import org.apache.lucene.index.VectorSimilarityFunction;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.KnnFloatVectorQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.store.Directory;

/**
 * Embeddings in a Lucene index of your own: of any length, in 8 bits a component, the best of what
 * is found scored again in 32. {@code LuceneVectorsTest} has 4 bits and 1 bit too, and the recall
 * of each.
 *
 * <p>Arguments: a query and a model directory, both optional; without the latter the default model
 * is used.
 */
public final class LuceneVectors {
  private LuceneVectors() {}

  /** Runs the example. */
  public static void main(String[] args) throws IOException {
    String query = args.length > 0 ? args[0] : "animals of the mountains";

    try (Encoder encoder =
            args.length > 1 ? Encoder.load(Path.of(args[1])) : Encoder.loadDefault();
        Directory directory = new ByteBuffersDirectory()) {
      KnnVectorsFormat int8 = new Lucene99HnswScalarQuantizedVectorsFormat();
      try (IndexWriter writer = new IndexWriter(directory, config(int8));
          Stream<Document> documents = Demo.corpus().documents()) {
        for (Iterator<Document> each = documents.iterator(); each.hasNext(); ) {
          Document document = each.next();
          var entry = new org.apache.lucene.document.Document();
          entry.add(new StoredField("title", document.title()));
          entry.add(vector(encoder.encodePassage(document.text())));
          writer.addDocument(entry);
        }
      }
      try (IndexReader reader = DirectoryReader.open(directory)) {
        float[] vector = encoder.encodeQuery(query);
        Query nearest = new KnnFloatVectorQuery("vector", vector, 50);
        for (ScoreDoc hit : rescored(reader, nearest, 50, vector).subList(0, 5)) {
          String title = reader.storedFields().document(hit.doc).get("title");
          System.out.printf(Locale.ROOT, "%.4f  %s%n", hit.score, title);
        }
      }
    }
  }

  /** Returns the field of an embedding, which is of length 1. */
  static KnnFloatVectorField vector(float[] embedding) {
    return new KnnFloatVectorField("vector", embedding, VectorSimilarityFunction.DOT_PRODUCT);
  }

  /** Returns settings of an index whose vectors have a format, and any number of dimensions. */
  static IndexWriterConfig config(KnnVectorsFormat format) {
    return new IndexWriterConfig()
        .setCodec(
            new Lucene912Codec() {
              @Override
              public KnnVectorsFormat getKnnVectorsFormatForField(String field) {
                return new AnyDimensions(format);
              }
            });
  }

  /**
   * A format without the limit of 1,024 dimensions, which is a default and not one of the files. It
   * goes by the name of the format that it lifts the limit of: that one reads the index, so readers
   * need no codec.
   */
  static final class AnyDimensions extends KnnVectorsFormat {
    private final KnnVectorsFormat format;

    AnyDimensions(KnnVectorsFormat format) {
      super(format.getName());
      this.format = format;
    }

    @Override
    public int getMaxDimensions(String field) {
      return Integer.MAX_VALUE;
    }

    @Override
    public KnnVectorsWriter fieldsWriter(SegmentWriteState state) throws IOException {
      return format.fieldsWriter(state);
    }

    @Override
    public KnnVectorsReader fieldsReader(SegmentReadState state) throws IOException {
      return format.fieldsReader(state);
    }
  }

  /** Returns what a query finds, by the inner product with the whole vectors, best first. */
  static List<ScoreDoc> rescored(IndexReader reader, Query query, int candidates, float[] vector)
      throws IOException {
    ScoreDoc[] hits = new IndexSearcher(reader).search(query, candidates).scoreDocs;
    List<LeafReaderContext> leaves = reader.leaves();
    for (ScoreDoc hit : hits) {
      LeafReaderContext leaf = leaves.get(ReaderUtil.subIndex(hit.doc, leaves));
      FloatVectorValues vectors = leaf.reader().getFloatVectorValues("vector");
      vectors.advance(hit.doc - leaf.docBase);
      hit.score = VectorSimilarityFunction.DOT_PRODUCT.compare(vector, vectors.vectorValue());
    }
    Arrays.sort(hits, Comparator.comparingDouble((ScoreDoc hit) -> hit.score).reversed());
    return List.of(hits);
  }
}
