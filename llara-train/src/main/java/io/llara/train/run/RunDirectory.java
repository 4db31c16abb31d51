package io.llara.train.run;

import com.google.common.collect.Sets;
import com.google.gson.JsonObject;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.StrictJson;
import io.llara.train.TrainingResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongSupplier;

/**
 * The directory of a run. Once it is claimed, only a run with the same settings and the same data
 * goes on there: they stand in {@code run.json}, by name and in order.
 */
@Internal
public final class RunDirectory {
  private static final String FILE = "run.json";
  private static final int FORMAT_VERSION = 1;
  private static final String VERSION = "formatVersion";
  private static final String SETTINGS = "settings";

  private final RunOptions options;
  private final long steps;
  private final Map<String, String> settings;
  private final Manifest manifest;

  private RunDirectory(
      RunOptions options, long steps, Map<String, String> settings, Manifest manifest) {
    this.options = options;
    this.steps = steps;
    this.settings = settings;
    this.manifest = manifest;
  }

  /**
   * Claims the directory for a run, or finds that it is this run's already.
   *
   * @param own the options of one kind of training that decide its results, by name
   * @param examples counts the examples of the data; called if the options say nothing of steps
   * @throws LlaraException if it holds another run, or cannot be written
   */
  public static RunDirectory claim(
      RunOptions options, Map<String, String> own, LongSupplier examples) {
    long steps = options.optimization().steps().orElseGet(() -> steps(options, examples));
    Map<String, String> settings = options.deciding(steps, own);
    Manifest begun =
        new Manifest(
            settings,
            Map.of("run", options.seed()),
            options.data().files().stream().map(Manifest.DataFile::of).toList(),
            Manifest.currentVersions(),
            Instant.now(),
            Optional.empty(),
            0);
    return new RunDirectory(options, steps, settings, claim(options, begun));
  }

  private static long steps(RunOptions options, LongSupplier examples) {
    long all = Math.multiplyExact(examples.getAsLong(), options.optimization().epochs());
    return Math.max(1, all / options.data().batch());
  }

  private static Manifest claim(RunOptions options, Manifest begun) {
    Path directory = options.output().directory();
    Map<String, String> now = withData(begun);
    Optional<Map<String, String>> before = readSettings(directory);
    if (before.isPresent()) {
      List<String> differences = differences(before.get(), now);
      if (!differences.isEmpty()) {
        throw new LlaraException(
            "%s holds a run with other settings: %s; use another directory"
                .formatted(directory, String.join("; ", differences)));
      }
      return Manifest.read(directory).orElse(begun);
    }
    if (options.compute().rank() == 0) {
      if (Files.exists(directory.resolve("config.json"))) {
        throw new LlaraException(
            directory + " holds a model that is not this run's; use another directory");
      }
      try {
        Files.createDirectories(directory);
      } catch (IOException e) {
        throw new LlaraException("%s: cannot be made: %s".formatted(directory, e), e);
      }
      begun.write(directory);
      writeSettings(directory, now);
    }
    return begun;
  }

  private static Map<String, String> withData(Manifest manifest) {
    Map<String, String> values = new LinkedHashMap<>(manifest.settings());
    int number = 0;
    for (Manifest.DataFile file : manifest.data()) {
      values.put("data " + ++number, "%s (SHA-256 %s)".formatted(file.path(), file.sha256()));
    }
    return values;
  }

  /**
   * Reads the settings that a run in a directory was started with, if one was.
   *
   * @throws LlaraException if the file cannot be read, or is not of this form
   */
  public static Optional<Map<String, String>> readSettings(Path directory) {
    Path file = directory.resolve(FILE);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    JsonSection json = StrictJson.file(file);
    json.requireVersion(VERSION, FORMAT_VERSION);
    return Optional.of(json.requiredSection(SETTINGS).allStrings());
  }

  static void writeSettings(Path directory, Map<String, String> settings) {
    JsonObject json = new JsonObject();
    json.addProperty(VERSION, FORMAT_VERSION);
    json.add(SETTINGS, StrictJson.tree(settings));
    AtomicFiles.writeJson(directory.resolve(FILE), json);
  }

  /** Returns each setting that differs, such as {@code "batch: was 16, now 32"}. */
  static List<String> differences(Map<String, String> before, Map<String, String> now) {
    List<String> differences = new ArrayList<>();
    for (String name : Sets.union(before.keySet(), now.keySet())) {
      String was = before.getOrDefault(name, "not set");
      String is = now.getOrDefault(name, "not set");
      if (!was.equals(is)) {
        differences.add("%s: was %s, now %s".formatted(name, was, is));
      }
    }
    return differences;
  }

  RunOptions options() {
    return options;
  }

  /** Returns the directory. */
  public Path path() {
    return options.output().directory();
  }

  /** Returns how many steps the whole run has. */
  long steps() {
    return steps;
  }

  /** Returns the settings that decide the run's results, as its checkpoints keep them. */
  Map<String, String> settings() {
    return settings;
  }

  /** Returns how the run ended, if it is complete. */
  public Optional<TrainingResult> finished() {
    return manifest
        .finished()
        .map(
            end ->
                new TrainingResult(
                    TrainingResult.Outcome.ALREADY_COMPLETE, manifest.steps(), path()));
  }

  /** Notes that the run is complete. */
  void finish() {
    manifest.after(steps, Optional.of(Instant.now())).write(path());
  }
}
