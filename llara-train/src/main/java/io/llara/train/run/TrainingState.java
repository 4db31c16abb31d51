package io.llara.train.run;

import com.google.common.hash.Hashing;
import com.google.common.io.MoreFiles;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Where a run is, the {@code state.json} of a checkpoint; the file of tensors lies beside it.
 * Learning rate and random state follow from the settings and the step.
 *
 * <p>The file says what the file of tensors must be, and has a checksum over all of that: the
 * SHA-256 of the object written compactly without it; later versions of the form keep this rule.
 *
 * @param step how many steps are done
 * @param position how many texts of the shuffled stream are consumed
 * @param settings the settings of the run, in order
 * @param version the version of the library that wrote it
 */
@Internal
public record TrainingState(
    long step, long position, Map<String, String> settings, String version) {
  private static final int FORMAT_VERSION = 1;

  private static final String VERSION = "formatVersion";
  private static final String STEP = "step";
  private static final String POSITION = "position";
  private static final String WRITTEN_BY = "version";
  private static final String SETTINGS = "settings";
  private static final String BYTES = "tensorsBytes";
  private static final String SHA_256 = "tensorsSha256";
  private static final String CHECKSUM = "checksum";

  /**
   * Checks the values and copies the settings.
   *
   * @throws IllegalArgumentException if a number is below 0
   */
  public TrainingState {
    if (step < 0 || position < 0) {
      throw new IllegalArgumentException(
          "step is %d and position %d; expected 0 or more".formatted(step, position));
    }
    settings = Collections.unmodifiableMap(new LinkedHashMap<>(settings));
  }

  /** Writes a file that describes the file of tensors as it is now. */
  void write(Path file, Path tensors) {
    JsonObject json = new JsonObject();
    json.addProperty(VERSION, FORMAT_VERSION);
    json.addProperty(STEP, step);
    json.addProperty(POSITION, position);
    json.addProperty(WRITTEN_BY, version);
    json.add(SETTINGS, StrictJson.tree(settings));
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
