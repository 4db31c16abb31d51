package io.llara.io;

import com.google.common.base.Ascii;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.Consumer;
import java.util.zip.GZIPOutputStream;

/**
 * Writes files and directories so that a name means the old content or the new one at any moment,
 * even if the machine stops: they are written aside, forced to disk and renamed. Programs that have
 * the old content mapped keep it.
 */
public final class AtomicFiles {
  private AtomicFiles() {}

  /** Writes the content of a file into an empty channel. */
  public interface Content {
    /** Writes all of it. */
    void writeTo(FileChannel channel) throws IOException;
  }

  /** Writes the text of a file. */
  public interface Text {
    /** Writes all of it, without closing. */
    void writeTo(Writer writer) throws IOException;
  }

  /**
   * Writes a file, replacing one of that name or, if the name is a link, the file that it leads to.
   * A device or a pipe is not replaced but written to.
   *
   * @throws LlaraException if it cannot be written; an older one is still whole then
   */
  public static void write(Path target, Content content) {
    if (Files.isDirectory(target)) {
      throw new LlaraException(target + ": cannot be written: it is a directory");
    }
    try {
      if (Files.exists(target) && !Files.isRegularFile(target)) {
        try (FileChannel channel = FileChannel.open(target, StandardOpenOption.WRITE)) {
          content.writeTo(channel);
        }
      } else {
        replace(Files.exists(target) ? target.toRealPath() : target, content);
      }
    } catch (IOException e) {
      throw new LlaraException(
          "%s: cannot be written: %s".formatted(target, Messages.reason(e)), e);
    }
  }

  private static void replace(Path target, Content content) throws IOException {
    try (TemporaryPath aside = TemporaryPath.beside(target)) {
      // Not a temporary file of the JDK: those are readable by their owner only.
      try (FileChannel channel =
          FileChannel.open(aside.path(), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        content.writeTo(channel);
        channel.force(true);
      }
      aside.moveTo(target);
      forceFolder(aside.path().resolveSibling(""));
    }
  }

  /**
   * Writes a file of these bytes.
   *
   * @throws LlaraException as {@link #write(Path, Content)}
   */
  public static void write(Path target, byte[] content) {
    write(target, channel -> ByteChannels.writeFully(channel, ByteBuffer.wrap(content)));
  }

  /**
   * Writes a file of text, in UTF-8; gzipped if its name ends in {@code .gz}.
   *
   * @throws LlaraException as {@link #write(Path, Content)}
   */
  public static void writeText(Path target, Text text) {
    boolean zipped = Ascii.toLowerCase(target.toString()).endsWith(".gz");
    write(
        target,
        channel -> {
          // Nothing is closed: the channel is forced to disk first.
          OutputStream bytes = Channels.newOutputStream(channel);
          if (zipped) {
            GZIPOutputStream zip = new GZIPOutputStream(bytes, 1 << 16);
            writeText(zip, text);
            zip.finish();
          } else {
            writeText(bytes, text);
          }
        });
  }

  private static void writeText(OutputStream bytes, Text text) throws IOException {
    Writer writer =
        new BufferedWriter(new OutputStreamWriter(bytes, StandardCharsets.UTF_8), 1 << 16);
    text.writeTo(writer);
    writer.flush();
  }

  /**
   * Writes a file of a JSON object, for people to read: as {@link StrictJson#pretty}.
   *
   * @throws LlaraException as {@link #write(Path, Content)}
   */
  public static void writeJson(Path target, JsonObject json) {
    writeText(target, text -> text.write(StrictJson.pretty(json)));
  }

  /**
   * Fails if a new directory cannot be made here because of a file or a directory that is not
   * empty.
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
   * Writes a new directory.
   *
   * @param content writes files into the directory it is given; may throw, and nothing is left then
   * @throws LlaraException if the directory is not new or empty, or cannot be written
   */
  public static void writeDirectory(Path dir, Consumer<Path> content) {
    requireFree(dir);
    try {
      // Through a link, to where it leads.
      Path target = Files.exists(dir) ? dir.toRealPath() : dir;
      try (TemporaryPath aside = TemporaryPath.beside(target)) {
        Files.createDirectories(aside.path());
        content.accept(aside.path());
        forceFolder(aside.path());
        // Renaming over an empty directory is not possible everywhere.
        Files.deleteIfExists(target);
        aside.moveTo(target);
        forceFolder(aside.path().resolveSibling(""));
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

  /** Forces the names in a folder to disk, where that can be done. */
  public static void forceFolder(Path folder) throws IOException {
    FileChannel channel;
    try {
      channel = FileChannel.open(folder, StandardOpenOption.READ);
    } catch (IOException e) {
      // Windows cannot open folders; the rename is atomic there all the same.
      return;
    }
    try (channel) {
      channel.force(true);
    }
  }
}
