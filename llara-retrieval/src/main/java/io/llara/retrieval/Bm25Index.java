package io.llara.retrieval;

import com.google.common.primitives.ImmutableDoubleArray;
import com.google.common.primitives.ImmutableLongArray;
import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.FieldType;
import org.apache.lucene.index.IndexOptions;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.ReaderUtil;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.ScoreMode;
import org.apache.lucene.search.Scorer;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.search.Weight;
import org.apache.lucene.search.similarities.BM25Similarity;

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
public final class Bm25Index implements Searcher {
  private static final String FIELD = "passage";
  private static final String VERSION_KEY = "llara.bm25";
  private static final String VERSION = "1";
  private static final String DIGEST_KEY = "passages.sha256";
  private static final double WRITER_MEGABYTES = 16;

  private final Analyzer analyzer = new EnglishAnalyzer();
  private final LuceneFolder folder;
  private final IndexSearcher searcher;
  private final SearchThreads threads =
      new SearchThreads(Runtime.getRuntime().availableProcessors(), () -> {});

  /** Searches the words of an index, which is closed with this. */
  Bm25Index(LuceneFolder folder, Bm25Options options) {
    this.folder = folder;
    searcher = new IndexSearcher(folder.reader());
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
   * @throws LlaraException if the collection cannot be read, or the index cannot be written
   */
  public static Bm25Index build(Corpus corpus, Bm25Options options) {
    return build(corpus::passages, options);
  }

  static Bm25Index build(Supplier<Stream<String>> passages, Bm25Options options) {
    return new Bm25Index(
        LuceneFolder.temporary(VERSION_KEY, VERSION, config(), writer -> write(writer, passages)),
        options);
  }

  /**
   * Indexes a collection in a folder, which stays. Its name means a whole index or nothing at any
   * moment.
   *
   * @param folder a new or an empty one
   * @throws LlaraException if the collection cannot be read, or the index cannot be written
   */
  public static Bm25Index build(Path folder, Corpus corpus, Bm25Options options) {
    LuceneFolder.write(folder, config(), writer -> write(writer, corpus::passages));
    return open(folder, options);
  }

  /**
   * Opens an index that was built in a folder. The parameters need not be those of then: an index
   * serves all of them.
   *
   * @throws LlaraException if there is none, or it is damaged
   */
  public static Bm25Index open(Path folder, Bm25Options options) {
    LuceneFolder opened = LuceneFolder.open(folder, VERSION_KEY, VERSION);
    opened.requireOneSegment();
    return new Bm25Index(opened, options);
  }

  static IndexWriterConfig config() {
    return LuceneFolder.config(new EnglishAnalyzer()).setRAMBufferSizeMB(WRITER_MEGABYTES);
  }

  /** Returns the field of a document that is searched. */
  static Field field(String passage) {
    FieldType type = new FieldType();
    type.setIndexOptions(IndexOptions.DOCS_AND_FREQS);
    type.setTokenized(true);
    type.freeze();
    return new Field(FIELD, passage, type);
  }

  private static Map<String, String> write(IndexWriter writer, Supplier<Stream<String>> passages)
      throws IOException {
    Field field = field("");
    List<Field> row = List.of(field);
    TextDigest digest = new TextDigest();
    try (Stream<String> stream = passages.get()) {
      for (Iterator<String> rest = stream.iterator(); rest.hasNext(); ) {
        String passage = rest.next();
        digest.add(passage);
        field.setStringValue(passage);
        writer.addDocument(row);
      }
    }
    return Map.of(VERSION_KEY, VERSION, DIGEST_KEY, digest.value());
  }

  /** Returns how many documents it has: those of the collection that have text. */
  public long documents() {
    return folder.reader().maxDoc();
  }

  /** Returns the digest of the passages that were indexed: {@link Corpus.Summary#digest}. */
  public String digest() {
    return folder.data().getOrDefault(DIGEST_KEY, "");
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
    Hits.requireCount(k);
    return folder.read(
        reader -> {
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
    return folder.read(
        reader -> {
          if (index < 0 || index >= reader.maxDoc()) {
            throw new IllegalArgumentException(
                "there is no document %d; the index has %d".formatted(index, reader.maxDoc()));
          }
          Weight weight =
              searcher.createWeight(
                  searcher.rewrite(bagOfWords(query)), ScoreMode.COMPLETE, /* boost= */ 1);
          LeafReaderContext leaf =
              reader.leaves().get(ReaderUtil.subIndex((int) index, reader.leaves()));
          int document = (int) index - leaf.docBase;
          Scorer scorer = weight.scorer(leaf);
          return scorer == null || scorer.iterator().advance(document) != document
              ? OptionalDouble.empty()
              : OptionalDouble.of(scorer.score());
        });
  }

  /** Searches for the texts of the queries, several at once. */
  @Override
  public List<Hits> search(List<Query> queries, int k) {
    return threads.map(queries, query -> search(query.requireText(), k));
  }

  /** Returns the scores of passages of the collection that have a word of their query. */
  @Override
  public List<OptionalDouble> score(List<Candidate> candidates) {
    return threads.map(
        candidates,
        candidate ->
            candidate.index() < 0
                ? OptionalDouble.empty()
                : score(candidate.query().requireText(), candidate.index()));
  }

  private org.apache.lucene.search.Query bagOfWords(String text) throws IOException {
    BooleanQuery.Builder bag = new BooleanQuery.Builder();
    for (Word word : words(text)) {
      TermQuery term = new TermQuery(new Term(FIELD, word.text()));
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
      int documents = searcher.getIndexReader().docFreq(new Term(FIELD, word.text()));
      if (documents > 0) {
        double idf = Math.log1p((documents() - documents + 0.5) / (documents + 0.5));
        weighted.add(new Weighted(word, idf * word.count()));
      }
    }
    // Stable: of equal weights the first by name.
    weighted.sort(Comparator.comparingDouble(Weighted::weight).reversed());
    return weighted.stream().limit(most).map(Weighted::word).toList();
  }

  /** Deletes the temporary folder, if the index lies in one, once no search is under way. */
  @Override
  public void close() {
    threads.close();
    folder.close();
    analyzer.close();
  }
}
