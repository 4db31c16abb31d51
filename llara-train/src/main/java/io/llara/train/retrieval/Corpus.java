package io.llara.train.retrieval;

import static java.util.Objects.requireNonNull;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.MalformedJsonException;
import io.llara.LlaraException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PushbackInputStream;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import java.util.zip.GZIPInputStream;
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
    if (!Files.exists(file) || Files.isDirectory(file)) {
      throw new LlaraException(
          "%s: %s; expected a file of one JSON object a line"
              .formatted(file, Files.exists(file) ? "is a directory" : "does not exist"));
    }
    return new Corpus(file.toString(), () -> Files.newInputStream(file));
  }

  /**
   * Reads the whole collection once.
   *
   * @throws LlaraException if a line is not what it should be; the message names it
   */
  public Summary summarize() {
    PassageDigest digest = new PassageDigest();
    List<String> blankIds = new ArrayList<>();
    try (Lines lines = new Lines()) {
      while (lines.hasNext()) {
        Document document = lines.next();
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

  /** One pass over the lines. */
  private final class Lines implements Iterator<Document>, AutoCloseable {
    private final BufferedReader reader;
    private long number;
    private @Nullable Document next;

    Lines() {
      try {
        InputStream bytes = source.open();
        try {
          reader =
              new BufferedReader(
                  new InputStreamReader(
                      unzipped(bytes),
                      // A decoder of its own reports malformed bytes instead of replacing them.
                      StandardCharsets.UTF_8.newDecoder()));
        } catch (IOException e) {
          bytes.close();
          throw e;
        }
      } catch (IOException e) {
        throw unreadable(e);
      }
    }

    @Override
    public boolean hasNext() {
      if (next == null) {
        next = read();
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

    private @Nullable Document read() {
      try {
        String line;
        do {
          number++;
          line = reader.readLine();
          if (number == 1 && line != null && line.startsWith("\uFEFF")) {
            line = line.substring(1);
          }
        } while (line != null && line.isBlank());
        return line == null ? null : parse(line);
      } catch (CharacterCodingException e) {
        throw new LlaraException(place() + "is not UTF-8", e);
      } catch (IOException e) {
        throw unreadable(e);
      }
    }

    private Document parse(String line) throws IOException {
      JsonObject json;
      try (JsonReader strict = new JsonReader(new StringReader(line))) {
        strict.setStrictness(Strictness.STRICT);
        JsonElement element = JsonParser.parseReader(strict);
        if (!element.isJsonObject() || strict.peek() != JsonToken.END_DOCUMENT) {
          throw new LlaraException(place() + "is not one JSON object");
        }
        json = element.getAsJsonObject();
      } catch (JsonParseException | MalformedJsonException e) {
        throw new LlaraException(place() + "is not a JSON object", e);
      }
      return new Document(string(json, "_id"), optionalString(json, "title"), string(json, "text"));
    }

    private String string(JsonObject json, String key) {
      if (!json.has(key)) {
        throw new LlaraException(place() + "has no key '" + key + "'");
      }
      return optionalString(json, key);
    }

    /** Returns the string, or an empty one if it is absent or null. */
    private String optionalString(JsonObject json, String key) {
      JsonElement value = json.get(key);
      if (value == null || value.isJsonNull()) {
        return "";
      }
      if (!value.isJsonPrimitive()) {
        throw new LlaraException(place() + "key '" + key + "' is not a string");
      }
      String string = value.getAsString();
      if (!StandardCharsets.UTF_8.newEncoder().canEncode(string)) {
        throw new LlaraException(place() + "key '" + key + "' has half of a surrogate pair");
      }
      return string;
    }

    private String place() {
      return "%s: line %d ".formatted(name, number);
    }

    @Override
    public void close() {
      try {
        reader.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /** Looks at the bytes rather than at the name. */
  private static InputStream unzipped(InputStream bytes) throws IOException {
    PushbackInputStream peeked = new PushbackInputStream(bytes, 2);
    byte[] magic = peeked.readNBytes(2);
    peeked.unread(magic);
    boolean zipped =
        magic.length == 2
            && (magic[0] & 0xFF) == (GZIPInputStream.GZIP_MAGIC & 0xFF)
            && (magic[1] & 0xFF) == GZIPInputStream.GZIP_MAGIC >> 8;
    return zipped ? new GZIPInputStream(peeked, 1 << 16) : peeked;
  }

  private LlaraException unreadable(IOException e) {
    return new LlaraException("%s: cannot be read: %s".formatted(name, e.getMessage()), e);
  }
}
