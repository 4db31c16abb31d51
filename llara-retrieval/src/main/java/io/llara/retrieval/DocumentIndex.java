package io.llara.retrieval;

import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.TextModes;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;
import org.apache.lucene.document.BinaryDocValuesField;
import org.apache.lucene.document.Field.Store;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.index.BinaryDocValues;
import org.apache.lucene.index.IndexableField;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.StoredFields;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.search.TopDocs;
import org.apache.lucene.util.BytesRef;
import org.jspecify.annotations.Nullable;

/**
 * Documents in a folder, searched by what they mean. An encoder makes their vectors, and those of
 * queries; or you bring vectors of your own.
 *
 * <pre>{@code
 * try (Encoder encoder = Encoder.load(Path.of("model"));
 *     DocumentIndex index = DocumentIndex.open(Path.of("index"), encoder)) {
 *   index.addAll(Path.of("corpus.jsonl.gz"));
 *   for (SearchHit hit : index.search("how do llamas carry loads", 10)) {
 *     System.out.printf("%.4f  %s%n", hit.score(), hit.document().title());
 *   }
 * }
 * }</pre>
 *
 * <p>What was added is in the folder when the method returns, and there when the index is opened
 * again. Each call adds all of its documents or, if something fails or the process dies, none. An
 * index belongs to its encoder: opened with one of another model, template or length it says what
 * differs, as vectors of different encoders cannot be compared.
 *
 * <p>The search is exact, by inner products, which are cosines of vectors of length 1. It looks at
 * every vector; {@link HnswIndex} serves larger collections. {@link Builder#fusion} adds the words
 * of documents and queries.
 *
 * <p>Thread-safe: any number of threads may search, also while documents are added, which they find
 * once the adding is done. Other processes find them when they open the index.
 */
public final class DocumentIndex implements AutoCloseable {
  private static final String FORMAT = "llara.documents";
  private static final String VERSION = "1";
  private static final String DIMENSION = "dimension";
  private static final String SAMPLE = "sample ";

  private static final String ID = "id";
  private static final String TITLE = "title";
  private static final String TEXT = "text";
  private static final String VECTOR = "vector";

  /** Blocks are copies, made for each search. */
  private static final long BLOCK_BYTES = 16L << 20;

  /** An encoder is known by the vectors that it makes of this. */
  private static final String SAMPLE_TEXT = "A llama carries wool and salt across the mountains.";

  /** Between those of other types and processors it is larger. */
  private static final double LEAST_COSINE = 0.999;

  private final Path folder;
  private final Optional<TemporaryPath> temporary;
  private final Optional<Encoder> encoder;
  private final Mode queryMode;
  private final Mode passageMode;
  private final Optional<Fusion> fusion;
  private final int dimension;
  private final Map<String, String> settings;

  /** Searches hold it for reading: what they read stays open. */
  private final ReadWriteLock lock = new ReentrantReadWriteLock();

  private @Nullable Snapshot snapshot;

  /** What was in the folder when it was last opened. */
  private record Snapshot(LuceneFolder documents, Searcher searcher) {
    void close() {
      searcher.close();
      documents.close();
    }
  }

  private DocumentIndex(Builder builder, Path folder, Optional<TemporaryPath> temporary) {
    this.folder = folder;
    this.temporary = temporary;
    this.encoder = builder.encoder;
    TextModes trained = builder.encoder.map(Encoder::modes).orElse(TextModes.N2S);
    this.queryMode = builder.queryMode.orElse(trained.query());
    this.passageMode = builder.passageMode.orElse(trained.passage());
    this.fusion = builder.fusion;
    this.dimension = builder.dimension;
    this.settings = settings();
    if (isNew(folder)) {
      LuceneFolder.write(folder, Bm25Index.config(), writer -> settings);
    }
    this.snapshot = snapshot();
  }

  /**
   * Opens the index in a folder, or makes a new one.
   *
   * @param folder an index, an empty folder, or one that does not exist
   * @param encoder embeds documents and queries; the caller closes it
   * @throws LlaraException if the index was made with another encoder (the message says what
   *     differs), is damaged, or the folder holds something else
   */
  public static DocumentIndex open(Path folder, Encoder encoder) {
    return builder(folder).encoder(encoder).open();
  }

  /**
   * Opens the index in a folder, or makes a new one, for vectors of your own.
   *
   * @param dimension the length of the vectors
   * @throws LlaraException as {@link #open(Path, Encoder)}
   */
  public static DocumentIndex open(Path folder, int dimension) {
    return builder(folder).dimension(dimension).open();
  }

  /** Makes an index in a temporary folder, which {@link #close} deletes. */
  public static DocumentIndex temporary(Encoder encoder) {
    TemporaryPath folder = TemporaryPath.folder("llara-documents");
    try {
      return new DocumentIndex(
          builder(folder.path()).encoder(encoder), folder.path(), Optional.of(folder));
    } catch (RuntimeException | Error e) {
      folder.close();
      throw e;
    }
  }

  /** Returns a builder, for other settings than those of {@link #open(Path, Encoder)}. */
  public static Builder builder(Path folder) {
    return new Builder(folder);
  }

  private static boolean isNew(Path folder) {
    try (Stream<Path> entries = Files.exists(folder) ? Files.list(folder) : Stream.empty()) {
      return entries.findFirst().isEmpty();
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, Messages.reason(e)), e);
    }
  }

  /** Returns what decides which vectors can be compared, by name. */
  private Map<String, String> settings() {
    Map<String, String> values = new LinkedHashMap<>();
    values.put(FORMAT, VERSION);
    values.put(DIMENSION, String.valueOf(dimension));
    encoder.ifPresent(
        with -> {
          values.put("template", with.template().toJson());
          values.put("maximum tokens", String.valueOf(with.forPassages().maxTokens()));
          values.put("normalized", String.valueOf(with.normalizes()));
          values.put("mode of queries", queryMode.name());
          values.put("mode of passages", passageMode.name());
          values.put(SAMPLE + "query", base64(with.forQueries().encode(SAMPLE_TEXT, queryMode)));
          values.put(
              SAMPLE + "passage", base64(with.forPassages().encode(SAMPLE_TEXT, passageMode)));
        });
    return values;
  }

  private static byte[] bytes(float[] vector) {
    ByteBuffer bytes = ByteBuffer.allocate(vector.length * Float.BYTES);
    bytes.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(vector);
    return bytes.array();
  }

  private static float[] floats(BytesRef bytes) {
    float[] vector = new float[bytes.length / Float.BYTES];
    ByteBuffer.wrap(bytes.bytes, bytes.offset, bytes.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .asFloatBuffer()
        .get(vector);
    return vector;
  }

  private static String base64(float[] vector) {
    return Base64.getEncoder().encodeToString(bytes(vector));
  }

  private static double cosine(String one, String other) {
    Base64.Decoder decoder = Base64.getDecoder();
    return Similarity.cosine(
        floats(new BytesRef(decoder.decode(one))), floats(new BytesRef(decoder.decode(other))));
  }

  /** Opens what is in the folder now. */
  private Snapshot snapshot() {
    LuceneFolder documents = LuceneFolder.open(folder, FORMAT, VERSION);
    try {
      requireComparable(documents.data());
    } catch (RuntimeException | Error e) {
      documents.close();
      throw e;
    }
    Searcher vectors =
        new ExactSearch(
            new Vectors(documents, dimension),
            encoder.map(Encoder::lanes).orElse(Runtime.getRuntime().availableProcessors()),
            BLOCK_BYTES);
    return new Snapshot(
        documents,
        fusion.isEmpty()
            ? vectors
            : new HybridSearcher(
                vectors, new Bm25Index(documents, Bm25Options.DEFAULT), fusion.get()));
  }

  /** Fails unless vectors made now can be compared with those of the index. */
  private void requireComparable(Map<String, String> made) {
    List<String> differences = new ArrayList<>();
    settings.forEach(
        (name, now) -> {
          String then = made.get(name);
          // An index of vectors without an encoder takes those of any.
          if (then != null && !now.equals(then)) {
            if (!name.startsWith(SAMPLE)) {
              differences.add("%s: %s then, %s now".formatted(name, then, now));
            } else if (now.length() == then.length() && cosine(now, then) < LEAST_COSINE) {
              differences.add(
                  "vector of a %s: cosine %.3f with that of then"
                      .formatted(name, cosine(now, then)));
            }
          }
        });
    if (!differences.isEmpty()) {
      throw new LlaraException(
          "%s: was made with another encoder: %s"
              .formatted(folder, String.join("; ", differences)));
    }
  }

  /** Returns how many documents there are. */
  public long size() {
    return reading(documents -> (long) documents.reader().maxDoc());
  }

  /** Returns the document of an id, if there is one. */
  public Optional<Document> get(String id) {
    return reading(
        documents ->
            documents.read(
                reader -> {
                  TopDocs found =
                      new IndexSearcher(reader).search(new TermQuery(new Term(ID, id)), 1);
                  return found.scoreDocs.length == 0
                      ? Optional.empty()
                      : Optional.of(document(reader.storedFields(), found.scoreDocs[0].doc));
                }));
  }

  /**
   * Adds a document, whose vector the encoder makes.
   *
   * @throws IllegalArgumentException if there is a document of its id, or it has neither title nor
   *     text
   * @throws LlaraException if it cannot be encoded, the folder cannot be written, or something else
   *     is adding to the index
   * @throws IllegalStateException if the index has no encoder, or is closed
   */
  public void add(Document document) {
    addAll(Stream.of(document));
  }

  /**
   * Adds a document with a vector.
   *
   * @param vector {@code [dimension]}, finite
   * @throws RuntimeException as {@link #addAll(Stream, Stream)}
   */
  public void add(Document document, float[] vector) {
    addAll(Stream.of(document), Stream.<float[]>of(vector));
  }

  /**
   * Adds a collection in BEIR format, whose documents without any text are left out.
   *
   * @throws RuntimeException as {@link #add(Document)}, or {@link Corpus#summarize}
   */
  public void addAll(Path collection) {
    try (Stream<Document> documents = Corpus.of(collection).documents()) {
      addAll(documents);
    }
  }

  /**
   * Adds documents, whose vectors the encoder makes. There may be more than fit into memory.
   *
   * @param documents not closed
   * @throws RuntimeException as {@link #add(Document)}, or what the stream throws
   */
  public void addAll(Stream<Document> documents) {
    Encoder with =
        encoder.orElseThrow(
            () ->
                new IllegalStateException(
                    "the index has no encoder; expected documents with their vectors"));
    write(
        addition -> {
          Queue<Document> pending = new ConcurrentLinkedQueue<>();
          Stream<String> passages =
              documents.map(
                  document -> {
                    if (document.isBlank()) {
                      throw new IllegalArgumentException(
                          "document '%s' has neither title nor text".formatted(document.id()));
                    }
                    pending.add(document);
                    return document.passage();
                  });
          with.forPassages()
              .encodeAll(
                  passages,
                  passageMode,
                  (index, text, vector) -> addition.add(pending.remove(), vector));
        });
  }

  /**
   * Adds documents with their vectors. There may be more than fit into memory.
   *
   * @param documents not closed
   * @param vectors one for each document, in their order; not closed
   * @throws IllegalArgumentException if there are not as many vectors as documents, a vector is of
   *     another dimension or not finite, or there is a document of one of the ids
   * @throws LlaraException if the folder cannot be written, or something else is adding to the
   *     index
   * @throws IllegalStateException if the index is closed
   */
  public void addAll(Stream<Document> documents, Stream<float[]> vectors) {
    Iterator<float[]> rest = vectors.iterator();
    write(
        addition -> {
          documents.forEachOrdered(
              document -> {
                if (!rest.hasNext()) {
                  throw new IllegalArgumentException(
                      "there is no vector for document '%s'".formatted(document.id()));
                }
                addition.add(document, rest.next());
              });
          if (rest.hasNext()) {
            throw new IllegalArgumentException("there are more vectors than documents");
          }
        });
  }

  /** Takes documents into an index that is being written. */
  private interface Addition {
    void add(Document document, float[] vector);
  }

  private void requireUsable(String id, float[] vector) {
    if (vector.length != dimension) {
      throw new IllegalArgumentException(
          "the vector of document '%s' has the dimension %d, the index %d"
              .formatted(id, vector.length, dimension));
    }
    double length = Math.sqrt(Similarity.dot(vector, vector));
    if (!(length <= ExactSearch.MOST_LENGTH)) {
      throw new IllegalArgumentException(
          "the vector of document '%s' has the length %s; expected a finite one of at most %s"
              .formatted(id, length, ExactSearch.MOST_LENGTH));
    }
  }

  private static Iterable<IndexableField> row(Document document, float[] vector) {
    return List.of(
        new StringField(ID, document.id(), Store.YES),
        new StoredField(TITLE, document.title()),
        new StoredField(TEXT, document.text()),
        new BinaryDocValuesField(VECTOR, new BytesRef(bytes(vector))),
        Bm25Index.field(document.passage()));
  }

  private synchronized void write(Consumer<Addition> content) {
    LuceneFolder before = reading(documents -> documents);
    LuceneFolder.append(
        folder,
        Bm25Index.config(),
        writer -> {
          DigestTable ids = new DigestTable();
          content.accept(
              (document, vector) -> {
                requireUsable(document.id(), vector);
                try {
                  if (!ids.addNew(document.id())
                      || before.reader().docFreq(new Term(ID, document.id())) > 0) {
                    throw new IllegalArgumentException(
                        "the index already has a document '%s'".formatted(document.id()));
                  }
                  writer.addDocument(row(document, vector));
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              });
          return before.data();
        });
    Snapshot now = snapshot();
    lock.writeLock().lock();
    try {
      // Closed meanwhile, what was added is in the folder all the same.
      (snapshot == null ? now : snapshot).close();
      snapshot = snapshot == null ? null : now;
    } finally {
      lock.writeLock().unlock();
    }
  }

  /**
   * Returns the documents that match a text best, best first.
   *
   * @param k how many; all if there are fewer
   * @throws IllegalArgumentException if the text is blank, or {@code k} is not positive
   * @throws LlaraException if the text cannot be encoded, or the index cannot be read
   * @throws IllegalStateException if the index is closed
   */
  public List<SearchHit> search(String query, int k) {
    return search(List.of(Query.of(query)), k).get(0);
  }

  /**
   * Returns the documents whose vectors have the largest inner products with one, best first.
   *
   * @param vector {@code [dimension]}
   * @param k how many; all if there are fewer
   * @throws IllegalArgumentException if the dimension differs, or {@code k} is not positive
   * @throws LlaraException if the vector is not finite, or the index cannot be read
   * @throws IllegalStateException if the index is closed
   */
  public List<SearchHit> search(float[] vector, int k) {
    return search(List.of(Query.of(vector)), k).get(0);
  }

  /**
   * Returns the best documents for each of many queries: a thousand take little longer than ten.
   *
   * @return the hits of each query, in the order of the queries
   * @throws RuntimeException as {@link #search(String, int)} and {@link #search(float[], int)}
   */
  public List<List<SearchHit>> search(List<Query> queries, int k) {
    List<Query> prepared =
        encoder.isEmpty()
            ? queries
            : Query.withVectors(
                queries, texts -> encoder.get().forQueries().encodeAll(texts, queryMode));
    lock.readLock().lock();
    try {
      Snapshot now = requireOpen();
      List<Hits> hits = now.searcher().search(prepared, k);
      return now.documents().read(reader -> documents(reader.storedFields(), hits));
    } finally {
      lock.readLock().unlock();
    }
  }

  private static List<List<SearchHit>> documents(StoredFields stored, List<Hits> all)
      throws IOException {
    List<List<SearchHit>> found = new ArrayList<>();
    for (Hits hits : all) {
      List<SearchHit> documents = new ArrayList<>();
      for (int i = 0; i < hits.size(); i++) {
        documents.add(
            new SearchHit(document(stored, (int) hits.indices().get(i)), hits.scores().get(i)));
      }
      found.add(documents);
    }
    return found;
  }

  private static Document document(StoredFields stored, int index) throws IOException {
    org.apache.lucene.document.Document row = stored.document(index);
    return new Document(row.get(ID), row.get(TITLE), row.get(TEXT));
  }

  private <T> T reading(Function<LuceneFolder, T> reading) {
    lock.readLock().lock();
    try {
      return reading.apply(requireOpen().documents());
    } finally {
      lock.readLock().unlock();
    }
  }

  private Snapshot requireOpen() {
    if (snapshot == null) {
      throw new IllegalStateException("the index in " + folder + " is closed");
    }
    return snapshot;
  }

  /** Waits until no search is under way, and frees what is mapped. Harmless when repeated. */
  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      if (snapshot != null) {
        snapshot.close();
        snapshot = null;
        temporary.ifPresent(TemporaryPath::close);
      }
    } finally {
      lock.writeLock().unlock();
    }
  }

  /** The vectors of an index, copied block by block. */
  private record Vectors(LuceneFolder documents, int dimension) implements VectorSet {
    @Override
    public long count() {
      return documents.reader().maxDoc();
    }

    @Override
    public void forEachBlock(int rows, BlockReceiver receiver) {
      Blocks.copy(this, rows, (most, memory) -> read(memory, most, receiver));
    }

    private void read(FloatBuffer memory, int most, BlockReceiver receiver) {
      documents.read(
          reader -> {
            FloatBuffer block = memory.duplicate();
            for (LeafReaderContext leaf : reader.leaves()) {
              BinaryDocValues values = leaf.reader().getBinaryDocValues(VECTOR);
              for (int i = values.nextDoc();
                  i != DocIdSetIterator.NO_MORE_DOCS;
                  i = values.nextDoc()) {
                block.put(floats(values.binaryValue()));
                int rows = block.position() / dimension;
                int next = leaf.docBase + i + 1;
                if (rows == most || next == reader.maxDoc()) {
                  receiver.accept(next - rows, rows, block.flip().asReadOnlyBuffer());
                  block.clear();
                }
              }
            }
            return count();
          });
    }
  }

  /** Collects the settings of an index. Not thread-safe. */
  public static final class Builder {
    private final Path folder;
    private Optional<Encoder> encoder = Optional.empty();
    private int dimension;
    private Optional<Mode> queryMode = Optional.empty();
    private Optional<Mode> passageMode = Optional.empty();
    private Optional<Fusion> fusion = Optional.empty();

    private Builder(Path folder) {
      this.folder = folder;
    }

    /** Sets what embeds documents and queries; the caller closes it. */
    public Builder encoder(Encoder encoder) {
      this.encoder = Optional.of(encoder);
      this.dimension = encoder.dimension();
      return this;
    }

    /** Sets the length of the vectors, where there is no encoder. */
    public Builder dimension(int dimension) {
      this.dimension = dimension;
      return this;
    }

    /** Sets how queries and documents are embedded; in the encoder's modes by default. */
    public Builder modes(Mode ofQueries, Mode ofPassages) {
      this.queryMode = Optional.of(ofQueries);
      this.passageMode = Optional.of(ofPassages);
      return this;
    }

    /** Searches by words too, with BM25, whose ranking comes second in the fusion. */
    public Builder fusion(Fusion fusion) {
      this.fusion = Optional.of(fusion);
      return this;
    }

    /**
     * Opens the index, or makes a new one.
     *
     * @throws IllegalArgumentException if there is neither an encoder nor a positive dimension, or
     *     both and they differ
     * @throws LlaraException as {@link DocumentIndex#open(Path, Encoder)}
     */
    public DocumentIndex open() {
      int expected = encoder.map(Encoder::dimension).orElse(dimension);
      if (dimension < 1 || dimension != expected) {
        throw new IllegalArgumentException(
            "the dimension is %d; expected %s"
                .formatted(dimension, encoder.isPresent() ? expected : "1 or more, or an encoder"));
      }
      return new DocumentIndex(this, folder, Optional.empty());
    }
  }
}
