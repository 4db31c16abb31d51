package io.llara.train.run;

import com.google.gson.JsonObject;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import io.llara.tensor.Libtorch;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

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
    /**
     * Reads a file through.
     *
     * @throws LlaraException if it cannot be read
     */
    public static DataFile of(Path file) {
      try {
        return new DataFile(file.toString(), Files.size(file), TrainingState.sha256(file));
      } catch (IOException e) {
        throw new LlaraException("%s: cannot be read: %s".formatted(file, e), e);
      }
    }
  }

  /** Returns the versions of this library, of libtorch and its presets, of Java and the system. */
  public static Map<String, String> currentVersions() {
    Map<String, String> versions = new LinkedHashMap<>();
    versions.put("llara", llaraVersion());
    versions.put("libtorch", Libtorch.version());
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
    json.addProperty(FINISHED, finished.map(Instant::toString).orElse(null));
    json.addProperty(STEPS, steps);
    json.add(SETTINGS, StrictJson.tree(settings));
    json.add(SEEDS, StrictJson.tree(seeds));
    json.add(DATA, StrictJson.tree(data));
    json.add(VERSIONS, StrictJson.tree(versions));
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
    JsonSection json = StrictJson.file(file);
    json.requireVersion(VERSION, FORMAT_VERSION);
    return Optional.of(
        new Manifest(
            json.requiredSection(SETTINGS).allStrings(),
            json.requiredSection(SEEDS).allLongs(),
            json.sections(DATA).orElseThrow(() -> json.missing(DATA, "a list")).stream()
                .map(
                    entry ->
                        new DataFile(
                            entry.requiredString("path"),
                            entry.requiredLong("bytes"),
                            entry.requiredString("sha256")))
                .toList(),
            json.requiredSection(VERSIONS).allStrings(),
            instant(json, STARTED).orElseThrow(() -> json.missing(STARTED, "a time")),
            instant(json, FINISHED),
            json.requiredLong(STEPS)));
  }

  private static Optional<Instant> instant(JsonSection json, String key) {
    return json.string(key)
        .map(
            text -> {
              try {
                return Instant.parse(text);
              } catch (DateTimeException e) {
                throw json.invalid(
                    key, Messages.quote(text), "a time such as 2026-01-31T12:00:00Z");
              }
            });
  }
}
