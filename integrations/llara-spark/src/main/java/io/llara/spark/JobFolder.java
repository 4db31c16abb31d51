package io.llara.spark;

import com.google.common.io.ByteStreams;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The folder of a job: a Parquet file for each partition that is done, and what the job is. Names
 * that begin with an underscore are none of a table's files for Spark.
 */
final class JobFolder {
  private static final String PLAN = "_llara.json";
  private static final String SUCCESS = "_SUCCESS";
  private static final String TEMPORARY = "_temporary";

  private final FileSystem files;
  private final Path folder;

  JobFolder(String folder, Configuration configuration) {
    this.folder = new Path(folder);
    this.files = doing(() -> this.folder.getFileSystem(configuration));
  }

  /** A step that reads or writes files. */
  @FunctionalInterface
  private interface Step<T> {
    T take() throws IOException;
  }

  private <T> T doing(Step<T> step) {
    try {
      return step.take();
    } catch (IOException e) {
      throw new LlaraException(folder + ": " + Messages.reason(e), e);
    }
  }

  /**
   * Begins a job, or goes on with it.
   *
   * @param plan what vectors are the same with: model, settings, input
   * @throws LlaraException if the folder has another job's vectors, or something else
   */
  void begin(Map<String, String> plan) {
    doing(
        () -> {
          Path file = new Path(folder, PLAN);
          if (files.exists(file)) {
            requireSame(plan, file);
          } else {
            requireNothing();
            JsonObject json = new JsonObject();
            plan.forEach(json::addProperty);
            Path aside = new Path(folder, "_" + PLAN + ".tmp");
            try (OutputStream out = files.create(aside, true)) {
              out.write(StrictJson.pretty(json).getBytes(StandardCharsets.UTF_8));
            }
            rename(aside, file);
          }
          files.delete(new Path(folder, TEMPORARY), true);
          return files;
        });
  }

  private void requireNothing() throws IOException {
    if (files.exists(folder)) {
      for (FileStatus status : files.listStatus(folder)) {
        String name = status.getPath().getName();
        if (!name.startsWith("_") && !name.startsWith(".")) {
          throw new LlaraException(
              "%s: has %s and no %s: it is not the folder of such a job; choose an empty one"
                  .formatted(folder, Messages.quote(name), PLAN));
        }
      }
    }
  }

  private void requireSame(Map<String, String> plan, Path file) throws IOException {
    String json;
    try (InputStream in = files.open(file)) {
      byte[] bytes = ByteStreams.limit(in, StrictJson.MAX_FILE_BYTES).readAllBytes();
      json = new String(bytes, StandardCharsets.UTF_8);
    }
    Map<String, String> begun = StrictJson.text(json, file.toString()).allStrings();
    Set<String> keys = new TreeSet<>(begun.keySet());
    keys.addAll(plan.keySet());
    List<String> differences = new ArrayList<>();
    for (String key : keys) {
      String before = begun.getOrDefault(key, "absent");
      String now = plan.getOrDefault(key, "absent");
      if (!before.equals(now)) {
        differences.add("%s was %s and is %s".formatted(key, before, now));
      }
    }
    if (!differences.isEmpty()) {
      throw new LlaraException(
          "%s: was begun as another job, whose vectors cannot be mixed with these: %s; choose another folder"
              .formatted(folder, String.join("; ", differences)));
    }
  }

  /** Returns the partitions that are not done. */
  List<Integer> missing(int partitions) {
    return doing(
        () -> {
          Set<String> done = new HashSet<>();
          for (FileStatus status : files.listStatus(folder)) {
            done.add(status.getPath().getName());
          }
          List<Integer> missing = new ArrayList<>();
          for (int i = 0; i < partitions; i++) {
            if (!done.contains(name(i))) {
              missing.add(i);
            }
          }
          return missing;
        });
  }

  private static String name(int partition) {
    return String.format(Locale.ROOT, "part-%05d.parquet", partition);
  }

  /** Returns the folder to write a partition to. */
  String temporary(int partition) {
    return new Path(new Path(folder, TEMPORARY), Integer.toString(partition)).toString();
  }

  /** Gives the one file of a partition that was written its name. */
  void commit(int partition) {
    doing(
        () -> {
          List<Path> written = new ArrayList<>();
          for (FileStatus status : files.listStatus(new Path(temporary(partition)))) {
            if (status.getPath().getName().startsWith("part-")) {
              written.add(status.getPath());
            }
          }
          if (written.size() != 1) {
            throw new LlaraException(
                "%s: partition %d was written as %d files; expected one"
                    .formatted(folder, partition, written.size()));
          }
          rename(written.get(0), new Path(folder, name(partition)));
          files.delete(new Path(temporary(partition)), true);
          return files;
        });
  }

  private void rename(Path from, Path to) throws IOException {
    if (!files.rename(from, to)) {
      throw new LlaraException("%s: could not become %s".formatted(from, to));
    }
  }

  /** Says that all partitions are done. */
  void end() {
    doing(
        () -> {
          files.delete(new Path(folder, TEMPORARY), true);
          files.create(new Path(folder, SUCCESS), true).close();
          return files;
        });
  }
}
