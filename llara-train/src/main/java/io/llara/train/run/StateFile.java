package io.llara.train.run;

import com.google.common.hash.Hashing;
import com.google.common.io.MoreFiles;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The {@code state.json} of a checkpoint: where the run was, what the file of tensors beside it
 * must be, and a checksum over all of that. The checksum is the SHA-256 of the object written
 * compactly without it; later versions of the form keep this rule.
 */
final class StateFile {
  private static final int FORMAT_VERSION = 1;

  private static final String VERSION = "formatVersion";
  private static final String STEP = "step";
  private static final String POSITION = "position";
  private static final String WRITTEN_BY = "version";
  private static final String SETTINGS = "settings";
  private static final String BYTES = "tensorsBytes";
  private static final String SHA_256 = "tensorsSha256";
  private static final String CHECKSUM = "checksum";

  private StateFile() {}

  /** Writes a file that describes the file of tensors as it is now. */
  static void write(Path file, TrainingState state, Path tensors) {
    JsonObject json = new JsonObject();
    json.addProperty(VERSION, FORMAT_VERSION);
    json.addProperty(STEP, state.step());
    json.addProperty(POSITION, state.position());
    json.addProperty(WRITTEN_BY, state.version());
    json.add(SETTINGS, StrictJson.tree(state.settings()));
    json.addProperty(BYTES, size(tensors));
    json.addProperty(SHA_256, sha256(tensors));
    json.addProperty(CHECKSUM, checksum(json));
    AtomicFiles.writeJson(file, json);
  }

  /**
   * Reads a file.
   *
   * @param tensors must be the file of tensors that was described
   * @throws DamagedException if one of the two is not what was once written
   * @throws LlaraException if a newer release wrote it
   */
  static TrainingState read(Path file, Path tensors) {
    JsonSection json;
    try {
      json = StrictJson.file(file);
    } catch (LlaraException e) {
      throw new DamagedException(String.valueOf(e.getMessage()), e);
    }
    JsonElement checksum = json.json().remove(CHECKSUM);
    if (!new JsonPrimitive(checksum(json.json())).equals(checksum)) {
      throw new DamagedException("%s: its checksum does not fit its content".formatted(file));
    }
    json.requireVersion(VERSION, FORMAT_VERSION);
    requireIntact(tensors, json.requiredLong(BYTES), json.requiredString(SHA_256));
    return new TrainingState(
        json.requiredLong(STEP),
        json.requiredLong(POSITION),
        json.requiredSection(SETTINGS).allStrings(),
        json.requiredString(WRITTEN_BY));
  }

  private static void requireIntact(Path tensors, long bytes, String sha256) {
    if (!Files.isRegularFile(tensors)) {
      throw new DamagedException("%s: no such file".formatted(tensors));
    }
    long size = size(tensors);
    if (size != bytes) {
      throw new DamagedException(
          "%s: has %d bytes; %d were written".formatted(tensors, size, bytes));
    }
    String found = sha256(tensors);
    if (!found.equals(sha256)) {
      throw new DamagedException(
          "%s: has SHA-256 %s; written was %s".formatted(tensors, found, sha256));
    }
  }

  private static String checksum(JsonObject json) {
    return Hashing.sha256().hashString(StrictJson.compact(json), StandardCharsets.UTF_8).toString();
  }

  private static long size(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      throw new DamagedException("%s: cannot be read: %s".formatted(file, e), e);
    }
  }

  static String sha256(Path file) {
    try {
      return MoreFiles.asByteSource(file).hash(Hashing.sha256()).toString();
    } catch (IOException e) {
      throw new DamagedException("%s: cannot be read: %s".formatted(file, e), e);
    }
  }
}
