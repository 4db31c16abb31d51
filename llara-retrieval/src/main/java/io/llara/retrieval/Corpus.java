package io.llara.retrieval;

import static java.util.Objects.requireNonNull;

import com.google.common.hash.Hashing;
import com.google.common.primitives.ImmutableLongArray;
import io.llara.LlaraException;
import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;

/**
 * A collection in BEIR format: one JSON object a line with {@code _id}, {@code title} (optional)
 * and {@code text}; plain or gzipped, UTF-8. It is read as often as it is asked for and never lies
 * in memory as a whole. Documents without any text are left out.
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
    LineReader.requireFile(file, "a file of one JSON object a line");
    return new Corpus(file.toString(), () -> Files.newInputStream(file));
  }

  /**
   * Reads the whole collection once.
   *
   * @throws LlaraException if a line is not what it should be; the message names it
   */
  public Summary summarize() {
    return read(document -> {});
  }

  /**
   * Reads the whole collection once, as {@link #summarize}, and fails if two documents have the
   * same id, those without text among them. Takes eight bytes of memory a document.
   *
   * @param visitor is shown each document, those without text too
   * @throws LlaraException as {@link #summarize}, or naming the repeated id and both lines
   */
  public Summary summarizeUnique(Consumer<Document> visitor) {
    ImmutableLongArray.Builder hashes = ImmutableLongArray.builder();
    Summary summary =
        read(
            document -> {
              hashes.add(hash(document.id()));
              visitor.accept(document);
            });
    requireUniqueIds(hashes.build().toArray());
    return summary;
  }

  private Summary read(Consumer<Document> visitor) {
    PassageDigest digest = new PassageDigest();
    List<String> blankIds = new ArrayList<>();
    try (Lines lines = new Lines()) {
      while (lines.hasNext()) {
        Document document = lines.next();
        visitor.accept(document);
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

  private void requireUniqueIds(long[] hashes) {
    Set<Long> repeated = repeated(hashes);
    if (repeated.isEmpty()) {
      return;
    }
    // Maybe only their hashes are equal.
    Map<String, Long> first = new HashMap<>();
    try (Lines lines = new Lines()) {
      while (lines.hasNext()) {
        String id = lines.next().id();
        if (repeated.contains(hash(id))) {
          Long before = first.putIfAbsent(id, lines.number());
          if (before != null) {
            throw lines.reader.error("has the id '%s' of line %d again".formatted(id, before));
          }
        }
      }
    }
  }

  private static Set<Long> repeated(long[] hashes) {
    Arrays.sort(hashes);
    Set<Long> repeated = new HashSet<>();
    for (int i = 1; i < hashes.length; i++) {
      if (hashes[i] == hashes[i - 1]) {
        repeated.add(hashes[i]);
      }
    }
    return repeated;
  }

  private static long hash(String id) {
    return Hashing.murmur3_128().hashString(id, StandardCharsets.UTF_8).asLong();
  }

  /** One pass over the documents. */
  private final class Lines implements Iterator<Document>, AutoCloseable {
    private final LineReader reader = new LineReader(name, source::open);
    private @Nullable Document next;

    @Override
    public boolean hasNext() {
      if (next == null && reader.advanceToText()) {
        JsonSection json = reader.json();
        next =
            new Document(
                json.requiredScalar("_id"),
                json.scalar("title").orElse(""),
                json.requiredScalar("text"));
      }
      return next != null;
    }

    @Override
    public Document next() {
      if (!hasNext()) {
        throw new NoSuchElementException();
      }
      Document document = requireNonNull(next);
      next = null;
      return document;
    }

    /** Returns the number of the line last read. */
    long number() {
      return reader.number();
    }

    @Override
    public void close() {
      reader.close();
    }
  }
}
