package io.llara.retrieval;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.FieldType;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexOptions;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.LogDocMergePolicy;
import org.apache.lucene.index.SerialMergeScheduler;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.ScoreMode;
import org.apache.lucene.search.Scorer;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.search.Weight;
import org.apache.lucene.search.similarities.BM25Similarity;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.FSDirectory;
import org.apache.lucene.store.NoLockFactory;

/**
 * A collection's words, searched by BM25 with Lucene. Title and text are one field, analysed as
 * Lucene's {@link EnglishAnalyzer} does: words by Unicode's rules, lower case, without possessives
 * and 33 stop words, Porter's stems. The index lies on disk, so that a collection may be larger
 * than the heap.
 *
 * <p>The score of a document is the sum, over the query's words, of {@code idf · tf / (tf + k1 · (1
 * - b + b · length / average))} with {@code idf = ln(1 + (N - df + 0.5) / (df + 0.5))}; the length
 * is rounded to one byte, which is exact up to 40 words. A word that the query repeats counts as
 * often. It is Lucene's form of BM25: without the factor {@code k1 + 1}, which changes no order.
 *
 * <p>The same collection and query give the same hits in every run. Thread-safe; to be closed.
 */
public final class Bm25Index implements AutoCloseable {
  private static final String FIELD = "passage";
  private static final String VERSION_KEY = "llara.bm25";
  private static final String VERSION = "1";
  private static final String DIGEST_KEY = "passages.sha256";
  private static final double WRITER_MEGABYTES = 16;

  private final Analyzer analyzer = new EnglishAnalyzer();
  private final Optional<TemporaryPath> temporary;
  private final String digest;
  private final Directory directory;
  private final DirectoryReader reader;
  private final IndexSearcher searcher;
  private boolean closed;

  private Bm25Index(Path folder, Bm25Options options, Optional<TemporaryPath> temporary) {
    this.temporary = temporary;
    try {
      directory = FSDirectory.open(folder, NoLockFactory.INSTANCE);
      try {
        if (!DirectoryReader.indexExists(directory)) {
          throw new LlaraException(folder + ": holds no index; expected one made by Bm25Index");
        }
        reader = DirectoryReader.open(directory);
      } catch (IOException | RuntimeException e) {
        directory.close();
        throw e;
      }
      Map<String, String> data = reader.getIndexCommit().getUserData();
      if (!VERSION.equals(data.get(VERSION_KEY)) || reader.leaves().size() > 1) {
        reader.close();
        directory.close();
        throw new LlaraException(
            "%s: is an index of another kind; expected one made by Bm25Index, version %s"
                .formatted(folder, VERSION));
      }
      digest = data.getOrDefault(DIGEST_KEY, "");
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be read: %s".formatted(folder, e), e);
    }
    searcher = new IndexSearcher(reader);
    searcher.setQueryCache(null);
    searcher.setSimilarity(new BM25Similarity(options.k1(), options.b()));
  }

  /** Indexes a collection as {@link #build(Corpus, Bm25Options)}, with the usual parameters. */
  public static Bm25Index build(Corpus corpus) {
    return build(corpus, Bm25Options.DEFAULT);
  }

  /**
   * Indexes a collection in a temporary folder, which {@link #close} deletes.
   *
   * @throws LlaraException if the collection cannot be read, or the index not be written
   */
  public static Bm25Index build(Corpus corpus, Bm25Options options) {
    TemporaryPath folder = TemporaryPath.folder("llara-bm25");
    try {
      write(folder.path(), corpus);
      return new Bm25Index(folder.path(), options, Optional.of(folder));
    } catch (IOException e) {
      folder.close();
      throw new LlaraException(
          "the BM25 index of %s cannot be written: %s".formatted(corpus.name(), e), e);
    } catch (RuntimeException | Error e) {
      folder.close();
      throw e;
    }
  }

  /**
   * Indexes a collection in a folder, which stays. Its name means a whole index or nothing at any
   * moment.
   *
   * @param folder a new or an empty one
   * @throws LlaraException if the collection cannot be read, or the index not be written
   */
  public static Bm25Index build(Path folder, Corpus corpus, Bm25Options options) {
    AtomicFiles.writeDirectory(
        folder,
        aside -> {
          try {
            write(aside, corpus);
          } catch (IOException e) {
            throw new LlaraException("%s: cannot be written: %s".formatted(folder, e), e);
          }
        });
    return open(folder, options);
  }

  /**
   * Opens an index that was built in a folder. The parameters need not be those of then: an index
   * serves all of them.
   *
   * @throws LlaraException if there is none, or it is damaged
   */
  public static Bm25Index open(Path folder, Bm25Options options) {
    return new Bm25Index(folder, options, Optional.empty());
  }

  private static void write(Path folder, Corpus corpus) throws IOException {
    IndexWriterConfig config =
        new IndexWriterConfig(new EnglishAnalyzer())
            .setRAMBufferSizeMB(WRITER_MEGABYTES)
            // Merges neighbours only, so that documents keep their order.
            .setMergePolicy(new LogDocMergePolicy())
            .setMergeScheduler(new SerialMergeScheduler())
            .setCommitOnClose(false);
    FieldType type = new FieldType();
    type.setIndexOptions(IndexOptions.DOCS_AND_FREQS);
    type.setTokenized(true);
    type.freeze();
    PassageDigest digest = new PassageDigest();
    try (Directory directory = FSDirectory.open(folder, NoLockFactory.INSTANCE);
        IndexWriter writer = new IndexWriter(directory, config);
        Stream<Document> documents = corpus.documents()) {
      Field field = new Field(FIELD, "", type);
      List<Field> row = List.of(field);
      documents.forEach(
          document -> {
            String passage = document.passage();
            digest.add(passage);
            field.setStringValue(passage);
            try {
              writer.addDocument(row);
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
      writer.forceMerge(1);
      writer.setLiveCommitData(Map.of(VERSION_KEY, VERSION, DIGEST_KEY, digest.value()).entrySet());
      writer.commit();
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  /** Returns how many documents it has: those of the collection that have text. */
  public long documents() {
    return reader.maxDoc();
  }

  /** Returns the digest of the passages that were indexed: {@link Corpus.Summary#digest}. */
  public String digest() {
    return digest;
  }

  /**
   * Returns the documents that match a query best. Only documents with at least one of its words
   * are found: there may be fewer than {@code k}.
   *
   * <p>The query is a bag of words, analysed as the documents are; no character in it is an
   * operator. Of more than 1,024 different words those of the largest weight, idf times how often
   * they stand in the query, are used.
   *
   * @param query any text
   * @param k how many, at least 1
   * @throws IllegalStateException if the index is closed
   * @throws LlaraException if the index cannot be read
   */
  public Hits search(String query, int k) {
    if (k < 1) {
      throw new IllegalArgumentException("k is " + k + "; expected 1 or more");
    }
    return held(
        () -> {
          ScoreDoc[] found = searcher.search(bagOfWords(query), k).scoreDocs;
          ImmutableLongArray.Builder indices = ImmutableLongArray.builder(found.length);
          ImmutableDoubleArray.Builder scores = ImmutableDoubleArray.builder(found.length);
          for (ScoreDoc hit : found) {
            indices.add(hit.doc);
            scores.add(hit.score);
          }
          return new Hits(indices.build(), scores.build());
        });
  }

  /**
   * Returns the score of one document for a query, whatever its rank; empty if the document has
   * none of the query's words.
   *
   * @param query any text; used as {@link #search} does
   * @param index the document's place in the collection
   * @throws IllegalArgumentException if there is no such document
   * @throws IllegalStateException if the index is closed
   * @throws LlaraException if the index cannot be read
   */
  public OptionalDouble score(String query, long index) {
    return held(
        () -> {
          if (index < 0 || index >= reader.maxDoc()) {
            throw new IllegalArgumentException(
                "there is no document %d; the index has %d".formatted(index, reader.maxDoc()));
          }
          Weight weight =
              searcher.createWeight(
                  searcher.rewrite(bagOfWords(query)), ScoreMode.COMPLETE, /* boost= */ 1);
          Scorer scorer = weight.scorer(reader.leaves().get(0));
          return scorer == null || scorer.iterator().advance((int) index) != index
              ? OptionalDouble.empty()
              : OptionalDouble.of(scorer.score());
        });
  }

  /** Reads from the index. */
  private interface Reading<T> {
    T read() throws IOException;
  }

  private <T> T held(Reading<T> reading) {
    // Held open until it is over: a file that is unmapped meanwhile ends the JVM.
    if (!reader.tryIncRef()) {
      throw new IllegalStateException("the BM25 index is closed");
    }
    try {
      try {
        return reading.read();
      } finally {
        reader.decRef();
      }
    } catch (IOException e) {
      throw new LlaraException("the BM25 index cannot be read: " + e, e);
    }
  }

  private Query bagOfWords(String text) throws IOException {
    BooleanQuery.Builder bag = new BooleanQuery.Builder();
    for (Word word : words(text)) {
      Query term = new TermQuery(new Term(FIELD, word.text()));
      bag.add(
          word.count() == 1 ? term : new BoostQuery(term, word.count()),
          BooleanClause.Occur.SHOULD);
    }
    return bag.build();
  }

  /** A word of a query, and how often it stands there. */
  private record Word(String text, int count) {}

  private Collection<Word> words(String text) throws IOException {
    Map<String, Integer> counts = new TreeMap<>();
    try (TokenStream tokens = analyzer.tokenStream(FIELD, text)) {
      CharTermAttribute term = tokens.addAttribute(CharTermAttribute.class);
      tokens.reset();
      while (tokens.incrementToken()) {
        counts.merge(term.toString(), 1, Integer::sum);
      }
      tokens.end();
    }
    List<Word> words = new ArrayList<>();
    counts.forEach((word, count) -> words.add(new Word(word, count)));
    int most = IndexSearcher.getMaxClauseCount();
    return words.size() <= most ? words : heaviest(words, most);
  }

  private List<Word> heaviest(List<Word> words, int most) throws IOException {
    record Weighted(Word word, double weight) {}
    List<Weighted> weighted = new ArrayList<>();
    for (Word word : words) {
      int documents = reader.docFreq(new Term(FIELD, word.text()));
      if (documents > 0) {
        double idf = Math.log1p((reader.maxDoc() - documents + 0.5) / (documents + 0.5));
        weighted.add(new Weighted(word, idf * word.count()));
      }
    }
    // Stable: of equal weights the first by name.
    weighted.sort(Comparator.comparingDouble(Weighted::weight).reversed());
    return weighted.stream().limit(most).map(Weighted::word).toList();
  }

  /** Deletes the temporary folder, if the index lies in one. A search that is under way ends. */
  @Override
  public void close() {
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
    }
    try {
      reader.close();
      directory.close();
      analyzer.close();
      temporary.ifPresent(TemporaryPath::close);
    } catch (IOException e) {
      throw new LlaraException("the BM25 index cannot be closed: " + e, e);
    }
  }
}
