package io.llara.io;

import io.llara.Internal;
import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;

/**
 * Makes a directory whose name means all of its files or nothing at any moment: it is filled aside,
 * and renamed when it is complete.
 */
@Internal
public final class NewDirectory {
  private NewDirectory() {}

  /**
   * Fails if something is in the way: a directory with files in it, or a file.
   *
   * @throws LlaraException naming it
   */
  public static void requireFree(Path dir) {
    if (!Files.exists(dir)) {
      return;
    }
    if (!Files.isDirectory(dir)) {
      throw new LlaraException(
          "%s: is a file; expected a new or an empty directory".formatted(dir));
    }
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(dir)) {
      if (entries.iterator().hasNext()) {
        throw notEmpty(dir);
      }
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(dir, Messages.reason(e)), e);
    }
  }

  /**
   * Fills a directory.
   *
   * @param content writes files into the directory it is given; may throw, and nothing is left then
   * @throws LlaraException if the directory is not new or empty, or cannot be written
   */
  public static void write(Path dir, Consumer<Path> content) {
    requireFree(dir);
    try {
      // Through a link, to where it leads.
      Path target = Files.exists(dir) ? dir.toRealPath() : dir.toAbsolutePath().normalize();
      Path parent = target.getParent();
      Path name = target.getFileName();
      if (parent == null || name == null) {
        throw new IllegalArgumentException(dir + " is not the path of a directory");
      }
      Files.createDirectories(parent);
      String suffix = Long.toUnsignedString(ThreadLocalRandom.current().nextLong(), 36);
      Path aside = parent.resolve("." + name + "." + suffix + ".tmp");
      try {
        Files.createDirectory(aside);
        content.accept(aside);
        AtomicFiles.forceFolder(aside);
        // Renaming over an empty directory is not possible everywhere.
        Files.deleteIfExists(target);
        Files.move(aside, target, StandardCopyOption.ATOMIC_MOVE);
        AtomicFiles.forceFolder(parent);
      } finally {
        // Gone already unless something failed.
        remove(aside);
      }
    } catch (DirectoryNotEmptyException e) {
      throw notEmpty(dir);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be written: %s".formatted(dir, Messages.reason(e)), e);
    }
  }

  private static LlaraException notEmpty(Path dir) {
    return new LlaraException(
        "%s: is not empty; nothing is written over: choose a new directory".formatted(dir));
  }

  /**
   * Deletes a directory of files; does nothing if there is none.
   *
   * @throws IOException if it holds directories, or something cannot be deleted
   */
  public static void remove(Path dir) throws IOException {
    if (!Files.isDirectory(dir)) {
      return;
    }
    try (DirectoryStream<Path> files = Files.newDirectoryStream(dir)) {
      for (Path file : files) {
        Files.delete(file);
      }
    }
    Files.delete(dir);
  }
}
