package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import com.google.common.collect.AbstractIterator;
import io.llara.LlaraException;
import io.llara.io.LineReader;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;

/**
 * A collection in a file, plain or gzipped, UTF-8: in BEIR format, one JSON object a line with
 * {@code _id}, {@code title} (optional) and {@code text}; as MS MARCO has it, id and text separated
 * by a tab; or as DPR has it, tab-separated under the header {@code id text title}. It is read as
 * often as it is asked for and never lies in memory as a whole. Documents without any text are left
 * out.
 */
public final class Corpus {
  private final String name;
  private final Source source;

  /** Opens the bytes of a collection from their start. */
  @FunctionalInterface
  public interface Source {
    /** Returns the bytes; the caller closes them. */
    InputStream open() throws IOException;
  }

  /**
   * What one reading of a collection tells.
   *
   * @param documents how many documents have text
   * @param blankIds the ids of those that have none
   * @param digest SHA-256 over the passages, in order
   */
  public record Summary(long documents, List<String> blankIds, String digest) {
    /** Copies the list. */
    public Summary {
      blankIds = List.copyOf(blankIds);
    }
  }

  /**
   * Creates a collection.
   *
   * @param name what messages call it
   */
  public Corpus(String name, Source source) {
    this.name = name;
    this.source = source;
  }

  /** Returns what messages call the collection. */
  public String name() {
    return name;
  }

  /** Returns the collection in a file. */
  public static Corpus of(Path file) {
    LineReader.requireFile(file, "a file of documents, one a line");
    return new Corpus(file.toString(), () -> Files.newInputStream(file));
  }

  /**
   * Reads the whole collection once.
   *
   * @throws LlaraException if a line is not what it should be; the message names it
   */
  public Summary summarize() {
    return read((lines, document) -> {});
  }

  /** Reads the whole collection once, as {@link #summarizeUnique(Consumer)}. */
  public Summary summarizeUnique() {
    return summarizeUnique(document -> {});
  }

  /**
   * Reads the whole collection once, as {@link #summarize}, and fails if two documents have the
   * same id, those without text among them, or none has a text. Takes some 30 bytes of memory a
   * document.
   *
   * @param visitor is shown each document, those without text too
   * @throws LlaraException as {@link #summarize}, or naming the repeated id and both lines
   */
  public Summary summarizeUnique(Consumer<Document> visitor) {
    DigestTable ids = new DigestTable();
    Summary summary =
        read(
            (lines, document) -> {
              if (!ids.addNew(document.id())) {
                throw lines
                    .reader
                    .lines()
                    .error(
                        "repeats the id '%s' of line %d"
                            .formatted(document.id(), firstLine(document.id())));
              }
              visitor.accept(document);
            });
    if (summary.documents() == 0) {
      throw new LlaraException(name + ": contains no document with text");
    }
    return summary;
  }

  private long firstLine(String id) {
    try (Lines lines = new Lines()) {
      Document document;
      do {
        document = requireNonNull(lines.next());
      } while (!document.id().equals(id));
      return lines.reader.lines().number();
    }
  }

  private Summary read(BiConsumer<Lines, Document> visitor) {
    TextDigest digest = new TextDigest();
    List<String> blankIds = new ArrayList<>();
    try (Lines lines = new Lines()) {
      while (lines.hasNext()) {
        Document document = requireNonNull(lines.next());
        visitor.accept(lines, document);
        if (document.isBlank()) {
          blankIds.add(document.id());
        } else {
          digest.add(document.passage());
        }
      }
    }
    return new Summary(digest.count(), blankIds, digest.value());
  }

  /**
   * Returns the documents that have text, in order. The caller closes the stream; it throws as
   * {@link #summarize} does.
   */
  public Stream<Document> documents() {
    Lines lines = new Lines();
    return StreamSupport.stream(
            Spliterators.spliteratorUnknownSize(lines, Spliterator.ORDERED | Spliterator.NONNULL),
            false)
        .onClose(lines::close)
        .filter(document -> !document.isBlank());
  }

  /** Returns the passages of the documents that have text, in order; as {@link #documents}. */
  public Stream<String> passages() {
    return documents().map(Document::passage);
  }

  /**
   * Reads documents by their index, documents without text not counted: those that a search found.
   *
   * @throws LlaraException as {@link #summarize}, or if there are fewer documents
   */
  public Map<Long, Document> documents(Collection<Hits> found) {
    Set<Long> wanted = new HashSet<>();
    found.forEach(hits -> hits.indices().forEach(wanted::add));
    Map<Long, Document> documents = new HashMap<>();
    try (Stream<Document> stream = documents()) {
      Iterator<Document> rest = stream.iterator();
      for (long index = 0; documents.size() < wanted.size() && rest.hasNext(); index++) {
        Document document = rest.next();
        if (wanted.contains(index)) {
          documents.put(index, document);
        }
      }
    }
    if (documents.size() < wanted.size()) {
      throw new LlaraException(name + ": changed while it was read");
    }
    return documents;
  }

  /** One pass over the documents. */
  private final class Lines extends AbstractIterator<Document> implements AutoCloseable {
    final DocumentReader reader = new DocumentReader(new LineReader(name, source::open));

    @Override
    protected @Nullable Document computeNext() {
      Document document = reader.next();
      return document == null ? endOfData() : document;
    }

    @Override
    public void close() {
      reader.close();
    }
  }
}
