package io.llara.train.run;

import io.llara.Internal;
import io.llara.LlaraException;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.io.AtomicFiles;
import io.llara.io.TemporaryPath;
import io.llara.model.StoredTensors;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The checkpoints of a run: {@code OUT/checkpoints/step-00000120/} with {@code tensors.safetensors}
 * and {@code state.json}. A checkpoint is there whole or not at all: it is written aside, forced to
 * disk and renamed; and what is read is checked against the SHA-256 that was written.
 *
 * <p>One process writes; others may look for the newest one meanwhile only if nothing is being
 * saved. Not thread-safe.
 */
@Internal
public final class CheckpointStore {
  /** The folder below {@code OUT}. */
  public static final String FOLDER = "checkpoints";

  private static final Logger LOG = LoggerFactory.getLogger(CheckpointStore.class);
  private static final String TENSORS = "tensors.safetensors";
  private static final String STATE = "state.json";
  private static final Pattern NAME = Pattern.compile("step-(\\d{1,18})");

  /** What is being written, or deleted, when the process ends: a dot in front, .tmp behind. */
  private static final Pattern DEBRIS = Pattern.compile("\\.step-\\d+\\..*tmp");

  private final Path folder;
  private final int keep;

  private record Entry(long step, Path dir) {}

  /**
   * Creates a store; nothing is written yet.
   *
   * @param out the run's output directory
   * @param keep how many checkpoints stay, 1 or more
   */
  public CheckpointStore(Path out, int keep) {
    if (keep < 1) {
      throw new IllegalArgumentException("keep is " + keep + "; expected 1 or more checkpoints");
    }
    this.folder = out.resolve(FOLDER);
    this.keep = keep;
  }

  /**
   * Writes a checkpoint, then deletes what is now too old, and what claims to be of a later step: a
   * run that went back to an earlier checkpoint goes another way.
   *
   * @param tensors float32, by name; they must not change meanwhile
   * @return the directory
   * @throws LlaraException if it cannot be written; the older ones are intact then
   * @throws IllegalArgumentException if a tensor is not float32
   */
  public Path save(TrainingState state, Map<String, Tensor> tensors) {
    SafetensorsWriter writer = new SafetensorsWriter();
    tensors.forEach((name, tensor) -> add(writer, name, tensor));
    Path dir = folder.resolve(String.format(Locale.ROOT, "step-%08d", state.step()));
    try {
      Files.createDirectories(folder);
      // First, for their space.
      removeDebris();
      Optional<Path> replaced = Files.exists(dir) ? Optional.of(retire(dir)) : Optional.empty();
      try {
        AtomicFiles.writeDirectory(dir, aside -> fill(aside, state, writer));
      } catch (RuntimeException | Error e) {
        if (replaced.isPresent()) {
          Files.move(replaced.get(), dir, StandardCopyOption.ATOMIC_MOVE);
        }
        throw e;
      }
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be written: %s".formatted(dir, e), e);
    }
    try {
      removeOthers(state.step());
    } catch (IOException | LlaraException e) {
      // The checkpoint is there all the same.
      LOG.warn("{}: old checkpoints cannot be deleted: {}", folder, e.toString());
    }
    return dir;
  }

  private static void add(SafetensorsWriter writer, String name, Tensor tensor) {
    ScalarType type = tensor.scalar_type().intern();
    if (type != ScalarType.Float) {
      throw new IllegalArgumentException(
          "tensor %s is %s; a checkpoint holds Float".formatted(name, type));
    }
    writer.add(
        name, StorageType.F32, tensor.shape(), StoredTensors.content(tensor, StorageType.F32));
  }

  private static void fill(Path aside, TrainingState state, SafetensorsWriter writer) {
    Path tensors = aside.resolve(TENSORS);
    writer.write(tensors);
    state.write(aside.resolve(STATE), tensors);
  }

  private void removeOthers(long newest) throws IOException {
    List<Entry> kept = new ArrayList<>();
    for (Entry entry : newestFirst()) {
      if (entry.step() > newest || kept.size() == keep) {
        // Out of the way by its name at once: a half-deleted one must not look whole.
        TemporaryPath.delete(retire(entry.dir()));
      } else {
        kept.add(entry);
      }
    }
    removeDebris();
  }

  private static Path retire(Path dir) throws IOException {
    Path retired = dir.resolveSibling("." + dir.getFileName() + ".old.tmp");
    TemporaryPath.delete(retired);
    return Files.move(dir, retired, StandardCopyOption.ATOMIC_MOVE);
  }

  private void removeDebris() throws IOException {
    List<Path> debris;
    try (Stream<Path> entries = Files.list(folder)) {
      debris =
          entries
              .filter(path -> DEBRIS.matcher(String.valueOf(path.getFileName())).matches())
              .toList();
    }
    for (Path path : debris) {
      TemporaryPath.delete(path);
    }
  }

  /**
   * Finds the newest checkpoint that is whole. Damaged ones are left as they are, named in a
   * warning and in {@link Saved#skipped()}.
   *
   * @throws LlaraException if the folder cannot be listed, or a newer release wrote a checkpoint
   */
  public Optional<Saved> newest() {
    List<String> skipped = new ArrayList<>();
    for (Entry entry : newestFirst()) {
      try {
        return Optional.of(open(entry, skipped));
      } catch (DamagedException e) {
        LOG.warn("damaged checkpoint, an older one is used: {}", e.getMessage());
        skipped.add(String.valueOf(e.getMessage()));
      }
    }
    if (!skipped.isEmpty()) {
      LOG.warn("{}: none of {} checkpoints is whole", folder, skipped.size());
    }
    return Optional.empty();
  }

  private static Saved open(Entry entry, List<String> skipped) {
    Path stateFile = entry.dir().resolve(STATE);
    Path tensors = entry.dir().resolve(TENSORS);
    TrainingState state = TrainingState.read(stateFile, tensors);
    if (state.step() != entry.step()) {
      throw new DamagedException(
          "%s: is of step %d; the name of its directory says %d"
              .formatted(stateFile, state.step(), entry.step()));
    }
    return new Saved(entry.dir(), state, skipped, SafetensorsFile.open(tensors));
  }

  private List<Entry> newestFirst() {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    List<Entry> entries = new ArrayList<>();
    try (DirectoryStream<Path> paths = Files.newDirectoryStream(folder)) {
      for (Path path : paths) {
        Matcher name = NAME.matcher(String.valueOf(path.getFileName()));
        if (name.matches() && Files.isDirectory(path)) {
          entries.add(new Entry(Long.parseLong(name.group(1)), path));
        }
      }
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, e), e);
    }
    entries.sort(Comparator.comparingLong(Entry::step).reversed());
    return entries;
  }

  /**
   * A whole checkpoint that was found.
   *
   * @param dir its directory
   * @param state where the run was
   * @param skipped what is wrong with each newer checkpoint that could not be used, newest first
   */
  public record Saved(
      Path dir, TrainingState state, List<String> skipped, SafetensorsFile tensors) {
    /** Copies the list. */
    public Saved {
      skipped = List.copyOf(skipped);
    }

    /** Returns the names of all tensors. */
    public Set<String> names() {
      return tensors.entries().keySet();
    }

    /**
     * Reads a tensor; the caller owns it.
     *
     * @throws LlaraException if there is none of that name, or it cannot be read
     */
    public Tensor load(String name) {
      TensorEntry entry = tensors.entry(name);
      try (StoredTensors stored = new StoredTensors()) {
        return stored.read(entry);
      }
    }
  }
}
