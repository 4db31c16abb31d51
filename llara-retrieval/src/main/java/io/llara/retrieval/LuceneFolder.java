package io.llara.retrieval;

import com.google.common.base.Throwables;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.Messages;
import io.llara.io.TemporaryPath;
import java.io.Closeable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.LogDocMergePolicy;
import org.apache.lucene.index.SerialMergeScheduler;
import org.apache.lucene.store.FSDirectory;
import org.apache.lucene.store.FSLockFactory;
import org.apache.lucene.store.LockFactory;
import org.apache.lucene.store.LockObtainFailedException;
import org.apache.lucene.store.NoLockFactory;
import org.apache.lucene.util.IOUtils;
import org.apache.lucene.util.ThreadInterruptedException;

/** A Lucene index in a folder of its own, whose user data say of which kind it is. Thread-safe. */
final class LuceneFolder implements AutoCloseable {
  private final Path dir;
  private final Optional<TemporaryPath> temporary;
  private final FSDirectory directory;
  private final DirectoryReader reader;

  /** Fills an index. */
  interface Content {
    /** Adds the documents and returns the user data. */
    Map<String, String> writeTo(IndexWriter writer) throws IOException;
  }

  /** Reads from an index. */
  interface Reading<T> {
    T read(DirectoryReader reader) throws IOException;
  }

  private LuceneFolder(
      Path dir, Optional<TemporaryPath> temporary, FSDirectory directory, DirectoryReader reader) {
    this.dir = dir;
    this.temporary = temporary;
    this.directory = directory;
    this.reader = reader;
  }

  /** Returns settings with which documents keep their order and every run writes the same. */
  static IndexWriterConfig config(Analyzer analyzer) {
    return new IndexWriterConfig(analyzer)
        // Merges neighbours only.
        .setMergePolicy(new LogDocMergePolicy())
        .setMergeScheduler(new SerialMergeScheduler())
        .setCommitOnClose(false);
  }

  /**
   * Writes an index. Its folder appears when it is complete; nothing is left if writing fails or is
   * interrupted, and nothing of its name if the process dies.
   *
   * @param dir a new or an empty folder
   * @throws LlaraException if the folder is not new or empty or cannot be written, or this thread
   *     is interrupted
   */
  static void write(Path dir, IndexWriterConfig config, Content content) {
    AtomicFiles.writeDirectory(dir, aside -> fill(aside, config, content));
  }

  private static void fill(Path dir, IndexWriterConfig config, Content content) {
    commit(
        dir,
        NoLockFactory.INSTANCE,
        config,
        writer -> {
          Map<String, String> data = content.writeTo(writer);
          writer.forceMerge(1);
          return data;
        });
  }

  /**
   * Adds to an index: all of the content, or nothing if it fails or the process dies.
   *
   * @throws LlaraException if the index cannot be written, something else is writing it, or this
   *     thread is interrupted
   */
  static void append(Path dir, IndexWriterConfig config, Content content) {
    commit(dir, FSLockFactory.getDefault(), config, content);
  }

  private static void commit(
      Path dir, LockFactory locks, IndexWriterConfig config, Content content) {
    // Closed before it commits, the writer leaves what was there.
    try (FSDirectory directory = FSDirectory.open(dir, locks);
        IndexWriter writer = new IndexWriter(directory, config)) {
      writer.setLiveCommitData(content.writeTo(writer).entrySet());
      writer.commit();
    } catch (LockObtainFailedException e) {
      throw new LlaraException(dir + ": something else is adding to the index", e);
    } catch (IOException | UncheckedIOException | ThreadInterruptedException e) {
      throw unwritten(dir, e);
    }
  }

  private static LlaraException unwritten(Path dir, Exception e) {
    if (e instanceof ThreadInterruptedException
        || Throwables.getRootCause(e) instanceof ClosedByInterruptException) {
      // Closing the writer may have cleared it.
      Thread.currentThread().interrupt();
      return new LlaraException("interrupted while an index was built", e);
    }
    String reason =
        Throwables.getRootCause(e) instanceof IOException io ? Messages.reason(io) : e.getMessage();
    return new LlaraException("%s: the index cannot be written: %s".formatted(dir, reason), e);
  }

  /**
   * Opens an index.
   *
   * @param key the name of the user data that say of which kind it is
   * @param kind the kind expected
   * @throws LlaraException if the folder holds none, or one of another kind, or cannot be read
   */
  static LuceneFolder open(Path dir, String key, String kind) {
    return open(dir, key, kind, Optional.empty());
  }

  /** Writes an index into a temporary folder, which is deleted when the index is closed. */
  static LuceneFolder temporary(
      String key, String kind, IndexWriterConfig config, Content content) {
    TemporaryPath folder = TemporaryPath.folder("llara-index");
    try {
      fill(folder.path(), config, content);
      return open(folder.path(), key, kind, Optional.of(folder));
    } catch (RuntimeException | Error e) {
      folder.close();
      throw e;
    }
  }

  private static LuceneFolder open(
      Path dir, String key, String kind, Optional<TemporaryPath> temporary) {
    if (!Files.isDirectory(dir)) {
      throw new LlaraException(
          "%s: is not a folder; expected an index whose %s is \"%s\"".formatted(dir, key, kind));
    }
    List<Closeable> opened = new ArrayList<>();
    try {
      FSDirectory directory = FSDirectory.open(dir, NoLockFactory.INSTANCE);
      opened.add(directory);
      if (!DirectoryReader.indexExists(directory)) {
        throw new LlaraException(
            "%s: holds no index; expected one whose %s is \"%s\"".formatted(dir, key, kind));
      }
      DirectoryReader reader = DirectoryReader.open(directory);
      opened.add(0, reader);
      String found = reader.getIndexCommit().getUserData().get(key);
      if (!kind.equals(found)) {
        throw new LlaraException(
            "%s: holds an index of another kind: its %s is \"%s\"; expected \"%s\""
                .formatted(dir, key, found, kind));
      }
      LuceneFolder index = new LuceneFolder(dir, temporary, directory, reader);
      opened.clear();
      return index;
    } catch (IOException e) {
      throw new LlaraException(
          "%s: the index cannot be read: %s".formatted(dir, Messages.reason(e)), e);
    } finally {
      IOUtils.closeWhileHandlingException(opened);
    }
  }

  /**
   * Fails unless the index has one segment.
   *
   * @throws LlaraException if it has more
   */
  void requireOneSegment() {
    if (reader.leaves().size() > 1) {
      throw error("holds an index of %d segments; expected one".formatted(reader.leaves().size()));
    }
  }

  /** Returns the reader, for what needs no file. */
  DirectoryReader reader() {
    return reader;
  }

  /** Returns what the index was written with. */
  Map<String, String> data() {
    try {
      return reader.getIndexCommit().getUserData();
    } catch (IOException e) {
      throw new LlaraException(
          "%s: the index cannot be read: %s".formatted(dir, Messages.reason(e)), e);
    }
  }

  /** Returns an error about the index; {@code what} goes on from its name. */
  LlaraException error(String what) {
    return new LlaraException(dir + ": " + what);
  }

  /**
   * Reads from the index, which stays open until the reading is over: a file that is unmapped
   * meanwhile ends the JVM.
   *
   * @throws IllegalStateException if the index is closed
   * @throws LlaraException if it cannot be read
   */
  <T> T read(Reading<T> reading) {
    if (!reader.tryIncRef()) {
      throw new IllegalStateException("the index in " + dir + " is closed");
    }
    try {
      try {
        return reading.read(reader);
      } finally {
        reader.decRef();
      }
    } catch (IOException e) {
      throw new LlaraException(
          "%s: the index cannot be read: %s".formatted(dir, Messages.reason(e)), e);
    }
  }

  /** Ends the mapping once nobody reads, and deletes a temporary folder. */
  @Override
  public void close() {
    try {
      reader.close();
      directory.close();
    } catch (IOException e) {
      throw new LlaraException(
          "%s: the index cannot be closed: %s".formatted(dir, Messages.reason(e)), e);
    }
    temporary.ifPresent(TemporaryPath::close);
  }
}
