package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.TensorEntry;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** One JSON file of a golden folder and the float64 tensors that belong to it. */
final class GoldenFile {
  private final Path folder;
  private final String name;
  private final GoldenJson json;

  GoldenFile(Path folder, String name, GoldenJson json) {
    this.folder = folder;
    this.name = name;
    this.json = json;
  }

  /** Returns the file's name, which says what kind of cases it holds. */
  String name() {
    return name;
  }

  /** Returns the name of the case that the file is if it has no list of them. */
  String nameOfOneCase() {
    return name.replaceAll("\\.json$", "");
  }

  Path folder() {
    return folder;
  }

  GoldenJson json() {
    return json;
  }

  List<GoldenJson> cases() {
    return json.objects("cases");
  }

  /** Returns the number of tokens of the longest row of {@code input_ids} in the cases. */
  int longestRow() {
    return cases().stream()
        .flatMap(one -> one.rows("input_ids").stream())
        .mapToInt(row -> row.length)
        .max()
        .orElse(1);
  }

  /** Opens the float64 tensors. Only the header is read now. */
  SafetensorsFile openTensors() {
    String tensorFile = json.string("tensor_file_f64");
    Path file = folder.resolve(tensorFile);
    // A name, not a path: a folder from elsewhere does not get to point outside of itself.
    if (!Path.of(tensorFile).equals(file.getFileName()) || !Files.isRegularFile(file)) {
      throw new LlaraException(
          "%s: the tensor file '%s' is not in the folder".formatted(json.where(), tensorFile));
    }
    return SafetensorsFile.open(file);
  }

  /** Reads a float64 tensor and checks its shape; -1 stands for any size. */
  static double[] read(SafetensorsFile tensors, String name, long... shape) {
    TensorEntry entry = tensors.entry(name);
    long[] found = entry.shape();
    boolean fits = found.length == shape.length;
    for (int i = 0; fits && i < shape.length; i++) {
      fits = shape[i] == -1 || shape[i] == found[i];
    }
    if (!fits) {
      throw new LlaraException(
          "%s: tensor '%s' has shape %s; expected %s"
              .formatted(tensors.path(), name, Arrays.toString(found), Arrays.toString(shape)));
    }
    return entry.readDoubles();
  }
}
