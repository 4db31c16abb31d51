package io.llara.train.run;

import com.google.common.collect.Sets;
import com.google.gson.JsonObject;
import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.io.AtomicFiles;
import io.llara.io.JsonSection;
import io.llara.io.StrictJson;
import io.llara.retrieval.ModelFingerprint;
import io.llara.train.TrainingResult;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The directory of a run. Once it is claimed, only a run with the same settings, the same data and
 * the same model goes on there: they stand in {@code run.json}, by name and in order. Until it is
 * closed no other process can claim it.
 */
@Internal
public final class RunDirectory implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(RunDirectory.class);
  private static final String FILE = "run.json";
  private static final int FORMAT_VERSION = 1;
  private static final String VERSION = "formatVersion";
  private static final String SETTINGS = "settings";

  /** Held by the first process of a run; it stays when the run has ended. */
  private static final String LOCK = "run.lock";

  /** The setting that tells the model's content; earlier releases did not write it. */
  private static final String MODEL_CONTENT = "model content";

  /** Where hashes of large weight files are noted, so that they are made once. */
  private static final String HASHES = "model-hashes";

  private final RunOptions options;
  private final long steps;
  private final Map<String, String> settings;
  private final Manifest manifest;
  private final Optional<FileChannel> lock;

  private RunDirectory(
      RunOptions options,
      long steps,
      Map<String, String> settings,
      Manifest manifest,
      Optional<FileChannel> lock) {
    this.options = options;
    this.steps = steps;
    this.settings = settings;
    this.manifest = manifest;
    this.lock = lock;
  }

  /**
   * Claims the directory for a run, or finds that it is this run's already.
   *
   * @param own the options of one kind of training that decide its results, by name
   * @param examples counts the examples of the data; called if the options say nothing of steps
   * @throws LlaraException if it holds another run, another process is running it, or it cannot be
   *     written
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
    Path directory = options.output().directory();
    if (options.compute().rank() > 0) {
      // The first process decides; the others only must not disagree.
      Optional<Map<String, String>> before = readSettings(directory);
      before.ifPresent(values -> requireSame(directory, values, begun));
      Manifest manifest = before.flatMap(values -> Manifest.read(directory)).orElse(begun);
      return new RunDirectory(options, steps, settings, manifest, Optional.empty());
    }
    if (readSettings(directory).isEmpty() && Files.exists(directory.resolve("config.json"))) {
      throw new LlaraException(
          directory + " holds a model that is not this run's; use another directory");
    }
    FileChannel lock = lock(directory);
    try {
      return new RunDirectory(options, steps, settings, claim(options, begun), Optional.of(lock));
    } catch (RuntimeException | Error e) {
      close(lock);
      throw e;
    }
  }

  private static long steps(RunOptions options, LongSupplier examples) {
    long all = Math.multiplyExact(examples.getAsLong(), options.optimization().epochs());
    return Math.max(1, all / options.data().batch());
  }

  private static FileChannel lock(Path directory) {
    Path file = directory.resolve(LOCK);
    try {
      Files.createDirectories(directory);
      FileChannel channel =
          FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      try {
        if (channel.tryLock() != null) {
          return channel;
        }
      } catch (OverlappingFileLockException e) {
        LOG.debug("{} is locked by this process", file, e);
      } catch (IOException e) {
        // Some network file systems cannot lock.
        LOG.warn("{}: cannot be locked; do not start this run twice: {}", file, e.toString());
        return channel;
      }
      channel.close();
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be written: %s".formatted(directory, e), e);
    }
    throw new LlaraException(
        "%s: another process is training there; wait for it, or use another directory"
            .formatted(directory));
  }

  private static Manifest claim(RunOptions options, Manifest begun) {
    Path directory = options.output().directory();
    String content =
        new ModelFingerprint(Optional.of(directory.resolve(HASHES)))
            .of(options.model().path(), options.model().adapter());
    Optional<Map<String, String>> before = readSettings(directory);
    if (before.isPresent()) {
      requireSame(directory, before.get(), begun);
      if (!before.get().getOrDefault(MODEL_CONTENT, content).equals(content)) {
        throw new LlaraException(
            "%s: the files of the model %s are not those that the run was begun with; restore them, or use another directory"
                .formatted(
                    directory,
                    options.model().path()
                        + options
                            .model()
                            .adapter()
                            .map(dir -> " or its adapter " + dir)
                            .orElse("")));
      }
      return Manifest.read(directory).orElse(begun);
    }
    begun.write(directory);
    Map<String, String> now = withData(begun);
    now.put(MODEL_CONTENT, content);
    writeSettings(directory, now);
    return begun;
  }

  private static void requireSame(Path directory, Map<String, String> before, Manifest begun) {
    Map<String, String> same = new LinkedHashMap<>(before);
    same.remove(MODEL_CONTENT);
    List<String> differences = differences(same, withData(begun));
    if (!differences.isEmpty()) {
      throw new LlaraException(
          "%s holds a run with other settings: %s; use another directory"
              .formatted(directory, String.join("; ", differences)));
    }
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

  /**
   * Returns how the run ended, if it is complete and its model is there. A model that is missing or
   * damaged is written again from the checkpoint of the last step.
   *
   * @throws LlaraException if the model is missing or damaged and there is no such checkpoint
   */
  public Optional<TrainingResult> finished() {
    if (manifest.finished().isEmpty()) {
      return Optional.empty();
    }
    try {
      CheckpointDirectory.open(path());
    } catch (LlaraException e) {
      long saved =
          new CheckpointStore(path(), options.output().keep())
              .newest()
              .map(checkpoint -> checkpoint.state().step())
              .orElse(0L);
      if (saved < manifest.steps()) {
        throw new LlaraException(
            "%s: the run was complete after %d steps, but its model is damaged, and there is no checkpoint to write it from again: %s"
                .formatted(path(), manifest.steps(), e.getMessage()),
            e);
      }
      LOG.warn("the model of a complete run is written again: {}", e.getMessage());
      return Optional.empty();
    }
    return Optional.of(
        new TrainingResult(
            TrainingResult.Outcome.ALREADY_COMPLETE,
            manifest.steps(),
            path(),
            RetrievalEvaluations.best(path())));
  }

  /** Notes that the run is complete. */
  void finish() {
    manifest.after(steps, Optional.of(Instant.now())).write(path());
  }

  /** Lets other processes claim the directory. */
  @Override
  public void close() {
    lock.ifPresent(RunDirectory::close);
  }

  private static void close(FileChannel lock) {
    try {
      lock.close();
    } catch (IOException e) {
      throw new LlaraException("the lock of a run cannot be released: " + e, e);
    }
  }
}
