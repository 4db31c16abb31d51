package io.llara.train.run;

import com.google.gson.JsonObject;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.StrictJson;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The settings that a run must go on with, by name and in order, as they are kept in {@code
 * run.json} from its start. Immutable.
 *
 * @param values the value of each setting as a text
 */
@Internal
public record RunSettings(Map<String, String> values) {
  /** The name of the file in the run's output directory. */
  public static final String FILE_NAME = "run.json";

  private static final int FORMAT_VERSION = 1;
  private static final String VERSION = "formatVersion";
  private static final String SETTINGS = "settings";

  /** Copies the settings. */
  public RunSettings {
    values = Collections.unmodifiableMap(new LinkedHashMap<>(values));
  }

  /**
   * Reads the settings that a run in a directory was started with, if one was.
   *
   * @throws LlaraException if the file cannot be read, or is not of this form
   */
  public static Optional<RunSettings> read(Path out) {
    Path file = out.resolve(FILE_NAME);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    JsonSection json = StrictJson.file(file);
    json.requireVersion(VERSION, FORMAT_VERSION);
    return Optional.of(new RunSettings(json.requiredSection(SETTINGS).allStrings()));
  }

  /**
   * Writes the settings into a directory that exists.
   *
   * @throws LlaraException if the file cannot be written
   */
  public void write(Path out) {
    JsonObject json = new JsonObject();
    json.addProperty(VERSION, FORMAT_VERSION);
    json.add(SETTINGS, StrictJson.tree(values));
    AtomicFiles.writeJson(out.resolve(FILE_NAME), json);
  }

  /**
   * Returns how these settings differ from those of before, one line each, such as {@code "batch:
   * was 16, now 32"}; empty if they do not.
   */
  public List<String> compare(RunSettings before) {
    Set<String> names = new LinkedHashSet<>(before.values.keySet());
    names.addAll(values.keySet());
    List<String> differences = new ArrayList<>();
    for (String name : names) {
      String old = shown(before.values.get(name));
      String now = shown(values.get(name));
      if (!old.equals(now)) {
        differences.add("%s: was %s, now %s".formatted(name, old, now));
      }
    }
    return differences;
  }

  private static String shown(@Nullable String value) {
    return value == null ? "not set" : value;
  }
}
