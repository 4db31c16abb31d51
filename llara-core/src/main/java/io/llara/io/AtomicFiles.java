package io.llara.io;

import com.google.common.base.Ascii;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import io.llara.Internal;
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
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.ThreadLocalRandom;
import java.util.zip.GZIPOutputStream;

/**
 * Writes a file so that its name means the old content or the new one at any moment, also when the
 * machine stops: aside, forced to disk, renamed, the folder forced to disk. Programs that have the
 * old content mapped keep it.
 */
@Internal
public final class AtomicFiles {
  private static final Gson PRETTY =
      new GsonBuilder().setPrettyPrinting().disableHtmlEscaping().serializeNulls().create();

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
   * Writes a file, replacing one of that name.
   *
   * @throws LlaraException if it cannot be written; an older one is still whole then
   */
  public static void write(Path target, Content content) {
    Path absolute = target.toAbsolutePath();
    Path folder = absolute.getParent();
    Path name = absolute.getFileName();
    if (folder == null || name == null) {
      throw new IllegalArgumentException(target + " is not the path of a file");
    }
    String suffix = Long.toUnsignedString(ThreadLocalRandom.current().nextLong(), 36);
    Path aside = folder.resolve("." + name + "." + suffix + ".tmp");
    try {
      try {
        writeAside(aside, content);
        Files.move(
            aside, absolute, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        forceFolder(folder);
      } finally {
        // Gone already unless something failed.
        Files.deleteIfExists(aside);
      }
    } catch (IOException e) {
      throw new LlaraException(
          "%s: cannot be written: %s".formatted(target, Messages.reason(e)), e);
    }
  }

  /**
   * Writes a file of these bytes.
   *
   * @throws LlaraException as {@link #write(Path, Content)}
   */
  public static void write(Path target, byte[] content) {
    write(
        target,
        channel -> {
          ByteBuffer bytes = ByteBuffer.wrap(content);
          while (bytes.hasRemaining()) {
            channel.write(bytes);
          }
        });
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
   * Writes a file of a JSON object, for people to read: a member a line, UTF-8, nulls kept.
   *
   * @throws LlaraException as {@link #write(Path, Content)}
   */
  public static void writeJson(Path target, JsonObject json) {
    writeText(
        target,
        text -> {
          PRETTY.toJson(json, text);
          text.write('\n');
        });
  }

  private static void writeAside(Path aside, Content content) throws IOException {
    // Not a temporary file of the JDK: those are readable by their owner only.
    try (FileChannel channel =
        FileChannel.open(aside, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      content.writeTo(channel);
      channel.force(true);
    }
  }

  /** Forces the names in a folder to disk, where that can be done. */
  public static void forceFolder(Path folder) throws IOException {
    FileChannel channel;
    try {
      channel = FileChannel.open(folder, StandardOpenOption.READ);
    } catch (IOException e) {
      // Windows opens no folders; the rename is atomic there all the same.
      return;
    }
    try (channel) {
      channel.force(true);
    }
  }
}
