package io.llara.io;

import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import io.llara.LlaraException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;

/**
 * A file or a folder that is deleted when this is closed, with all that is in it. What is still
 * open when the JVM ends, even by an interrupt from the keyboard, is deleted after all shutdown
 * hooks have ended: one of them may still wait for its writer. Thread-safe.
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
    Path create() throws IOException;
  }

  /**
   * Creates an empty file in the system's folder for such files.
   *
   * @throws LlaraException if it cannot be created
   */
  public static TemporaryPath file(String prefix) {
    return create("file", () -> Files.createTempFile(prefix, ".tmp"));
  }

  /**
   * Creates an empty folder in the system's folder for such files.
   *
   * @throws LlaraException if it cannot be created
   */
  public static TemporaryPath folder(String prefix) {
    return create("folder", () -> Files.createTempDirectory(prefix));
  }

  private static TemporaryPath create(String what, Creation creation) {
    try {
      return new TemporaryPath(creation.create());
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
