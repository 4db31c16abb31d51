package io.llara.train.run;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.ByteChannels;
import io.llara.io.JsonSection;
import io.llara.io.LineReader;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.function.Consumer;

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
        ByteChannels.writeFully(channel, bytes);
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
   * Reads a file line by line. A last line that a killed process left torn is passed over.
   *
   * @param receiver takes the object of each line
   * @throws LlaraException if a line before the last is no object with a {@code step}, or the file
   *     cannot be read
   */
  public static void read(Path file, Consumer<JsonSection> receiver) {
    try (LineReader lines = new LineReader(file)) {
      boolean more = lines.advance();
      while (more) {
        JsonSection line;
        try {
          line = lines.json();
          line.requiredLong(STEP);
        } catch (LlaraException e) {
          if (lines.advance()) {
            throw e;
          }
          return;
        }
        receiver.accept(line);
        more = lines.advance();
      }
    }
  }

  /**
   * Drops the lines of steps after one, and a last line that a killed process left torn. The file
   * is replaced as a whole; if there is nothing to drop it is left alone, as is one that is not
   * there.
   *
   * @param lastStep the last step that stays
   * @param everyStep whether there must be a line for each step up to that one; if the file was
   *     deleted, for each step since
   * @throws LlaraException as {@link #read}, or if lines are missing, or the file cannot be written
   */
  public static void cutBack(Path file, long lastStep, boolean everyStep) {
    if (!Files.exists(file)) {
      return;
    }
    StringBuilder kept = new StringBuilder();
    long[] last = {0};
    read(
        file,
        line -> {
          long step = line.requiredLong(STEP);
          if (step <= lastStep) {
            if (everyStep && last[0] > 0 && step != last[0] + 1) {
              throw incomplete(file, "step %d follows step %d".formatted(step, last[0]));
            }
            last[0] = step;
            kept.append(StrictJson.compact(line.json())).append('\n');
          }
        });
    if (everyStep && last[0] < lastStep) {
      throw incomplete(
          file, "ends with step %d; the run is at step %d".formatted(last[0], lastStep));
    }
    byte[] bytes = kept.toString().getBytes(StandardCharsets.UTF_8);
    try {
      if (Files.size(file) != bytes.length) {
        AtomicFiles.write(file, bytes);
      }
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be cut back: %s".formatted(file, e), e);
    }
  }

  private static LlaraException incomplete(Path file, String problem) {
    return new LlaraException(
        "%s: lines are missing: %s; restore the file, or delete it to go on without the earlier ones"
            .formatted(file, problem));
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
