package io.llara.io;

import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import io.llara.LlaraException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A file or a folder that is deleted when this is closed, with all that is in it. What is still
 * open when the JVM ends, even by an interrupt from the keyboard, is deleted after all shutdown
 * hooks have ended: one of them may still wait for its writer. What a process that was killed left
 * behind is deleted when another first makes something there. Thread-safe.
 */
public final class TemporaryPath implements AutoCloseable {
  private static final Set<Path> OPEN = ConcurrentHashMap.newKeySet();

  static {
    try {
      Runtime.getRuntime()
          .addShutdownHook(new Thread(TemporaryPath::deleteOpenOnExit, "llara-temporary"));
    } catch (IllegalStateException e) {
      // The JVM is ending already, and what is opened now is closed by those who open it.
    }
  }

  private final Path path;

  private TemporaryPath(Path path) {
    this.path = path;
    OPEN.add(path);
  }

  private interface Creation {
    /** Creates what has a prefix in its name, in a folder. */
    Path create(Path folder, String prefix) throws IOException;
  }

  /**
   * Tells what belongs to a living process from what a killed one left: names have a word of the
   * process in them, and a file of that word is locked for as long as the process lives.
   */
  private static final class Owner {
    private static final String PREFIX = "llara-";
    private static final String LOCK = ".lock";

    private static @Nullable String word;

    /** Never closed: that would end the lock. */
    private static @Nullable FileChannel lock;

    private static synchronized String word(Path folder) throws IOException {
      if (word == null) {
        deleteAbandoned(folder);
        String chosen = Long.toUnsignedString(ThreadLocalRandom.current().nextLong(), 36);
        // Locked before it has the name that others look for.
        Path file = folder.resolve(PREFIX + chosen + ".new");
        lock = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        lock.lock();
        OPEN.add(renamed(file, folder.resolve(PREFIX + chosen + LOCK)));
        word = chosen;
      }
      return word;
    }

    private static Path renamed(Path file, Path name) {
      try {
        return Files.move(file, name);
      } catch (IOException e) {
        // Windows renames no open file; then nothing of this process is ever deleted by another.
        return file;
      }
    }

    private static void deleteAbandoned(Path folder) throws IOException {
      try (DirectoryStream<Path> locks = Files.newDirectoryStream(folder, PREFIX + "*" + LOCK)) {
        for (Path file : locks) {
          String name = file.getFileName().toString();
          String dead = name.substring(PREFIX.length(), name.length() - LOCK.length());
          // Anybody may write there: no other pattern, and only names of ours.
          if (dead.matches("[0-9a-z]+")) {
            deleteIfAbandoned(folder, file, PREFIX + "*-" + dead + "-*");
          }
        }
      }
    }

    private static void deleteIfAbandoned(Path folder, Path file, String names) {
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
          FileLock free = channel.tryLock()) {
        if (free != null) {
          try (DirectoryStream<Path> left = Files.newDirectoryStream(folder, names)) {
            for (Path path : left) {
              delete(path);
            }
          }
          Files.delete(file);
        }
      } catch (IOException | DirectoryIteratorException | OverlappingFileLockException e) {
        // Another user's, or being deleted by another process.
        return;
      }
    }
  }

  /**
   * Creates an empty file in the system's folder for such files.
   *
   * @throws LlaraException if it cannot be created
   */
  public static TemporaryPath file(String prefix) {
    return create("file", prefix, (folder, start) -> Files.createTempFile(folder, start, ".tmp"));
  }

  /**
   * Creates an empty folder in the system's folder for such files.
   *
   * @throws LlaraException if it cannot be created
   */
  public static TemporaryPath folder(String prefix) {
    return create("folder", prefix, (folder, start) -> Files.createTempDirectory(folder, start));
  }

  private static TemporaryPath create(String what, String prefix, Creation creation) {
    try {
      Path folder = Path.of(System.getProperty("java.io.tmpdir"));
      return new TemporaryPath(
          creation.create(folder, "%s-%s-".formatted(prefix, Owner.word(folder))));
    } catch (IOException e) {
      throw new LlaraException(
          "a temporary %s cannot be created in %s: %s"
              .formatted(what, System.getProperty("java.io.tmpdir"), Messages.reason(e)),
          e);
    }
  }

  /**
   * Returns a hidden name beside a target, where its content is made before it {@linkplain #moveTo
   * takes its place}. Nothing is created.
   *
   * @throws IllegalArgumentException if the target has no parent
   */
  public static TemporaryPath beside(Path target) {
    Path absolute = target.toAbsolutePath().normalize();
    if (absolute.getParent() == null) {
      throw new IllegalArgumentException(target + " is not the path of a file or a directory");
    }
    String suffix = Long.toUnsignedString(ThreadLocalRandom.current().nextLong(), 36);
    return new TemporaryPath(
        absolute.resolveSibling("." + absolute.getFileName() + "." + suffix + ".tmp"));
  }

  public Path path() {
    return path;
  }

  /** Renames it to the target in one step, replacing a file there; closing deletes nothing then. */
  public void moveTo(Path target) throws IOException {
    Files.move(path, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    OPEN.remove(path);
  }

  /**
   * Deletes what is there. Closing twice is harmless.
   *
   * @throws LlaraException if it cannot be deleted
   */
  @Override
  public void close() {
    try {
      delete(path);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be deleted: %s".formatted(path, Messages.reason(e)), e);
    }
    OPEN.remove(path);
  }

  /** Deletes a file, or a folder with all that is in it, if it is there. */
  public static void delete(Path path) throws IOException {
    if (Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
      // "Insecure" where the system cannot rule out that another process swaps a folder for a link.
      MoreFiles.deleteRecursively(path, RecursiveDeleteOption.ALLOW_INSECURE);
    }
  }

  private static void deleteOpenOnExit() {
    for (Path path : OPEN) {
      try (Stream<Path> all = Files.walk(path)) {
        // The JVM deletes in reverse order: what is in a folder before the folder.
        all.forEach(one -> one.toFile().deleteOnExit());
      } catch (IOException | UncheckedIOException e) {
        // Gone meanwhile, or unreadable: then it stays.
        continue;
      }
    }
  }
}
