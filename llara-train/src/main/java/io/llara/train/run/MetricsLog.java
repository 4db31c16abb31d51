package io.llara.train.run;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.LineReader;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/**
 * A file of one JSON object a line, handed to the system as each step ends: who watches the file
 * sees a step as soon as it is done, and a killed process loses none. Numbers are written so that
 * they read back to the same double. For one thread.
 */
@Internal
public final class MetricsLog implements AutoCloseable {
  private static final String STEP = "step";

  private final Path file;
  private final FileChannel channel;

  /**
   * Opens a file to add to, and makes it if need be.
   *
   * @throws LlaraException if it cannot be opened, or its last line is torn: {@link #cutBack} first
   */
  public MetricsLog(Path file) {
    this.file = file;
    try {
      channel =
          FileChannel.open(
              file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
      try {
        if (!endsWithNewLine(channel)) {
          throw new LlaraException(
              "%s: the last line is torn; expected a line end after it".formatted(file));
        }
        channel.position(channel.size());
      } catch (IOException | RuntimeException e) {
        channel.close();
        throw e;
      }
    } catch (IOException e) {
      throw unwritable(e);
    }
  }

  private static boolean endsWithNewLine(FileChannel channel) throws IOException {
    ByteBuffer last = ByteBuffer.allocate(1);
    return channel.size() == 0
        || channel.read(last, channel.size() - 1) == 1 && last.get(0) == '\n';
  }

  /**
   * Adds a line.
   *
   * @throws IllegalArgumentException if a number is not finite; JSON has no word for it
   * @throws LlaraException if it cannot be written; nothing of it is in the file then
   * @throws IllegalStateException if closed
   */
  public void append(JsonObject line) {
    if (!channel.isOpen()) {
      throw new IllegalStateException("the log of metrics " + file + " is closed");
    }
    requireFinite("", line);
    ByteBuffer bytes =
        ByteBuffer.wrap((StrictJson.compact(line) + "\n").getBytes(StandardCharsets.UTF_8));
    try {
      long end = channel.position();
      try {
        while (bytes.hasRemaining()) {
          channel.write(bytes);
        }
      } catch (IOException e) {
        channel.truncate(end);
        throw e;
      }
    } catch (IOException e) {
      throw unwritable(e);
    }
  }

  /**
   * Forces all lines to disk, so that they outlive the machine's end too: before a checkpoint that
   * counts on them.
   *
   * @throws LlaraException if that fails
   */
  public void force() {
    try {
      channel.force(false);
    } catch (IOException e) {
      throw unwritable(e);
    }
  }

  /**
   * Drops the lines of steps after one, and a last line that a killed process left torn. The file
   * is replaced as a whole; if there is nothing to drop it is left alone, as is one that is not
   * there.
   *
   * @param lastStep the last step that stays
   * @throws LlaraException if a line before the last is no object with a {@code step}, or the file
   *     cannot be read or written
   */
  public static void cutBack(Path file, long lastStep) {
    if (!Files.exists(file)) {
      return;
    }
    if (!copyUpTo(file, lastStep, null)) {
      AtomicFiles.write(file, channel -> copyUpTo(file, lastStep, channel));
    }
  }

  /** Copies what stays, and returns whether that is the whole file. */
  private static boolean copyUpTo(Path file, long lastStep, @Nullable FileChannel out) {
    try (FileChannel in = FileChannel.open(file);
        LineReader lines = new LineReader(file)) {
      boolean whole = endsWithNewLine(in);
      boolean more = lines.advance();
      while (more) {
        String line = null;
        LlaraException problem = null;
        try {
          if (lines.json().requiredLong(STEP) <= lastStep) {
            line = lines.line();
          }
        } catch (LlaraException e) {
          problem = e;
        }
        more = lines.advance();
        if (problem != null && more) {
          throw problem;
        }
        if (line == null) {
          whole = false;
        } else if (out != null) {
          ByteBuffer bytes = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
          while (bytes.hasRemaining()) {
            out.write(bytes);
          }
        }
      }
      return whole;
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be cut back: %s".formatted(file, e), e);
    }
  }

  private static void requireFinite(String path, JsonElement element) {
    if (element.isJsonObject()) {
      element.getAsJsonObject().asMap().forEach((key, value) -> requireFinite(key, value));
    } else if (element.isJsonArray()) {
      element.getAsJsonArray().forEach(value -> requireFinite(path, value));
    } else if (element instanceof JsonPrimitive primitive
        && primitive.isNumber()
        && !Double.isFinite(primitive.getAsDouble())) {
      throw new IllegalArgumentException(
          "'%s' is %s; expected a finite number".formatted(path, primitive));
    }
  }

  private LlaraException unwritable(IOException e) {
    return new LlaraException("%s: cannot be written: %s".formatted(file, e), e);
  }

  /** Closes the file. Closing twice is harmless. */
  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw unwritable(e);
    }
  }
}
