package io.llara.train.run;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.Loader;

/**
 * What a trained model came from: {@code manifest.json} in the run's output directory, written when
 * the run begins and again when it ends. Immutable.
 *
 * @param settings the settings of the run, in order
 * @param seeds the random seeds by what they are for
 * @param data the files it read
 * @param versions the versions of the library and of what it runs on
 * @param started when the first process of the run began
 * @param finished when the run ended, if it has
 * @param steps how many steps are done
 */
@Internal
public record Manifest(
    Map<String, String> settings,
    Map<String, Long> seeds,
    List<DataFile> data,
    Map<String, String> versions,
    Instant started,
    Optional<Instant> finished,
    long steps) {
  /** The name of the file in the run's output directory. */
  public static final String FILE_NAME = "manifest.json";

  private static final int FORMAT_VERSION = 1;
  private static final String VERSION = "formatVersion";
  private static final String SETTINGS = "settings";
  private static final String SEEDS = "seeds";
  private static final String DATA = "data";
  private static final String VERSIONS = "versions";
  private static final String STARTED = "started";
  private static final String FINISHED = "finished";
  private static final String STEPS = "steps";

  /** Copies the collections. */
  public Manifest {
    settings = Collections.unmodifiableMap(new LinkedHashMap<>(settings));
    seeds = Collections.unmodifiableMap(new LinkedHashMap<>(seeds));
    data = List.copyOf(data);
    versions = Collections.unmodifiableMap(new LinkedHashMap<>(versions));
  }

  /**
   * A file of training data.
   *
   * @param path as it was given
   * @param bytes its size
   * @param sha256 the SHA-256 of its bytes, in hexadecimal digits
   */
  public record DataFile(String path, long bytes, String sha256) {
    private static final String PATH = "path";
    private static final String BYTES = "bytes";
    private static final String SHA_256 = "sha256";

    /**
     * Reads a file through.
     *
     * @throws LlaraException if it cannot be read
     */
    public static DataFile of(Path file) {
      try {
        return new DataFile(file.toString(), Files.size(file), StateFile.sha256(file));
      } catch (IOException e) {
        throw new LlaraException("%s: cannot be read: %s".formatted(file, e), e);
      }
    }

    private JsonObject toJson() {
      JsonObject json = new JsonObject();
      json.addProperty(PATH, path);
      json.addProperty(BYTES, bytes);
      json.addProperty(SHA_256, sha256);
      return json;
    }
  }

  /** Returns the versions of this library, of libtorch and its presets, of Java and the system. */
  public static Map<String, String> currentVersions() {
    Map<String, String> versions = new LinkedHashMap<>();
    versions.put("llara", llaraVersion());
    versions.put("libtorch", libtorchVersion());
    versions.put(
        "java", "%s (%s)".formatted(Runtime.version(), System.getProperty("java.vm.name")));
    versions.put(
        "system",
        "%s %s %s"
            .formatted(
                System.getProperty("os.name"),
                System.getProperty("os.version"),
                System.getProperty("os.arch")));
    return versions;
  }

  /** Returns this library's version; {@code unreleased} where it does not come from a jar. */
  public static String llaraVersion() {
    String version = Internal.class.getPackage().getImplementationVersion();
    return version == null ? "unreleased" : version;
  }

  private static String libtorchVersion() {
    try {
      return Loader.getVersion("org.bytedeco", "pytorch") + " (presets)";
    } catch (IOException e) {
      return "unknown";
    }
  }

  /** Returns the same, ended now or not yet, after a number of steps. */
  public Manifest after(long stepsDone, Optional<Instant> end) {
    return new Manifest(settings, seeds, data, versions, started, end, stepsDone);
  }

  /**
   * Writes the file into a directory that exists.
   *
   * @throws LlaraException if it cannot be written
   */
  public void write(Path out) {
    JsonObject json = new JsonObject();
    json.addProperty(VERSION, FORMAT_VERSION);
    json.addProperty(STARTED, started.toString());
    json.add(
        FINISHED,
        finished
            .<JsonElement>map(end -> new JsonPrimitive(end.toString()))
            .orElse(JsonNull.INSTANCE));
    json.addProperty(STEPS, steps);
    json.add(SETTINGS, JsonFiles.ofStrings(settings));
    JsonObject numbers = new JsonObject();
    seeds.forEach(numbers::addProperty);
    json.add(SEEDS, numbers);
    JsonArray files = new JsonArray();
    data.forEach(file -> files.add(file.toJson()));
    json.add(DATA, files);
    json.add(VERSIONS, JsonFiles.ofStrings(versions));
    AtomicFiles.writeJson(out.resolve(FILE_NAME), json);
  }

  /**
   * Reads the manifest of a run, if there is one.
   *
   * @throws LlaraException if the file cannot be read, or is not of this form
   */
  public static Optional<Manifest> read(Path out) {
    Path file = out.resolve(FILE_NAME);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    JsonObject json = JsonFiles.read(file);
    JsonFiles.requireVersion(file, json, VERSION, FORMAT_VERSION);
    JsonObject numbers = JsonFiles.requiredObject(file, json, SEEDS);
    Map<String, Long> seeds = new LinkedHashMap<>();
    numbers.keySet().forEach(key -> seeds.put(key, JsonFiles.requiredLong(file, numbers, key)));
    return Optional.of(
        new Manifest(
            JsonFiles.strings(file, JsonFiles.requiredObject(file, json, SETTINGS)),
            seeds,
            dataFiles(file, json),
            JsonFiles.strings(file, JsonFiles.requiredObject(file, json, VERSIONS)),
            instant(file, json, STARTED),
            json.has(FINISHED) && !json.get(FINISHED).isJsonNull()
                ? Optional.of(instant(file, json, FINISHED))
                : Optional.empty(),
            JsonFiles.requiredLong(file, json, STEPS)));
  }

  private static List<DataFile> dataFiles(Path file, JsonObject json) {
    if (!(json.get(DATA) instanceof JsonArray files)) {
      throw new LlaraException("%s: key '%s' is not a list".formatted(file, DATA));
    }
    List<DataFile> data = new ArrayList<>();
    for (JsonElement element : files) {
      if (!(element instanceof JsonObject entry)) {
        throw new LlaraException(
            "%s: key '%s' has an entry that is no object".formatted(file, DATA));
      }
      data.add(
          new DataFile(
              JsonFiles.requiredString(file, entry, DataFile.PATH),
              JsonFiles.requiredLong(file, entry, DataFile.BYTES),
              JsonFiles.requiredString(file, entry, DataFile.SHA_256)));
    }
    return data;
  }

  private static Instant instant(Path file, JsonObject json, String key) {
    String text = JsonFiles.requiredString(file, json, key);
    try {
      return Instant.parse(text);
    } catch (DateTimeException e) {
      throw new LlaraException(
          "%s: key '%s' is '%s'; expected a time such as 2026-01-31T12:00:00Z"
              .formatted(file, key, text),
          e);
    }
  }
}
