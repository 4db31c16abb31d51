package io.llara.train.checkpoint;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.llara.ModelLoadException;
import io.llara.io.AtomicFiles;
import io.llara.io.StrictJson;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** The files beside the weights of a model, and how bytes of files are copied. */
final class TokenizerFiles {
  static final String TOKENIZER = "tokenizer.json";
  static final String SETTINGS = "tokenizer_config.json";
  static final String ADDED_TOKENS = "added_tokens.json";

  /** What goes with any vocabulary. */
  static final List<String> INDEPENDENT =
      List.of(SETTINGS, "special_tokens_map.json", "chat_template.jinja", "chat_template.json");

  /** The vocabulary itself, in the forms that libraries know. */
  private static final List<String> VOCABULARY =
      List.of(TOKENIZER, ADDED_TOKENS, "tokenizer.model", "vocab.json", "merges.txt");

  private static final int MAX_BYTES = 512 << 20;
  private static final int CHUNK_BYTES = 1 << 20;

  private TokenizerFiles() {}

  /** Reads a file of a JSON object, which may be as large as a tokenizer's vocabulary. */
  static JsonObject json(Path file) {
    return StrictJson.modelFile(file, MAX_BYTES).json();
  }

  static Optional<JsonObject> jsonIfThere(Path file) {
    return Files.exists(file) ? Optional.of(json(file)) : Optional.empty();
  }

  /** Returns the list under a key, which is made if it is absent or null. */
  static JsonArray list(JsonObject object, String key) {
    JsonElement value = object.get(key);
    if (value instanceof JsonArray list) {
      return list;
    }
    JsonArray list = new JsonArray();
    object.add(key, list);
    return list;
  }

  /** Copies those that are there. */
  static void copyAll(Path from, Path to) {
    copy(from, to, VOCABULARY);
    copy(from, to, INDEPENDENT);
  }

  /** Copies those of the names that are there. */
  static void copy(Path from, Path to, List<String> names) {
    for (String name : names) {
      if (Files.exists(from.resolve(name))) {
        copy(from.resolve(name), to.resolve(name));
      }
    }
  }

  /** Copies a file; it is on disk when this returns. */
  static void copy(Path from, Path to) {
    AtomicFiles.write(to, out -> copy(from, 0, Files.size(from), out));
  }

  /** Copies a part of a file. An error in reading it is told from one in writing. */
  static void copy(Path from, long offset, long length, WritableByteChannel out)
      throws IOException {
    try (FileChannel in = open(from)) {
      ByteBuffer buffer = ByteBuffer.allocateDirect((int) Math.min(CHUNK_BYTES, length));
      for (long done = 0; done < length; ) {
        buffer.clear().limit((int) Math.min(buffer.capacity(), length - done));
        read(from, in, offset + done, buffer);
        done += buffer.flip().limit();
        while (buffer.hasRemaining()) {
          out.write(buffer);
        }
      }
    }
  }

  private static FileChannel open(Path file) {
    try {
      return FileChannel.open(file);
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  private static void read(Path file, FileChannel in, long offset, ByteBuffer buffer) {
    try {
      while (buffer.hasRemaining()) {
        if (in.read(buffer, offset + buffer.position()) < 0) {
          throw new EOFException("it became shorter while it was copied");
        }
      }
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  private static ModelLoadException unreadable(Path file, IOException e) {
    return new ModelLoadException("%s: cannot be read: %s".formatted(file, e.getMessage()), e);
  }
}
