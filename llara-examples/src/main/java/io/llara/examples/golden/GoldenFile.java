package io.llara.examples.golden;

import com.google.common.base.Suppliers;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.checkpoint.TensorEntry;
import io.llara.io.StrictJson;
import io.llara.prompt.PromptTemplate;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Supplier;

/** One JSON file of a golden folder and the float64 tensors that belong to it. */
final class GoldenFile {
  private final Path path;
  private final GoldenJson json;
  private final Supplier<SafetensorsFile> tensors = Suppliers.memoize(this::openTensors);
  private final Supplier<Integer> longestRow = Suppliers.memoize(this::findLongestRow);

  GoldenFile(Path path, GoldenJson json) {
    this.path = path;
    this.json = json;
  }

  /** Returns the file's name, which says what kind of cases it holds. */
  String name() {
    return path.getFileName().toString();
  }

  GoldenJson json() {
    return json;
  }

  /** Returns the path of something beside this file, such as a checkpoint. */
  Path beside(String name) {
    return path.resolveSibling(name);
  }

  /**
   * Returns the directory of the checkpoint: beside this file, with the name that it gives.
   *
   * @param usual the name where it gives none
   */
  Path checkpoint(String usual) {
    return inFolder(json.optionalString("checkpoint").orElse(usual), "checkpoint");
  }

  /** Returns the template of the prompts: a known one by name, or one in its JSON form. */
  PromptTemplate template() {
    if (json.json().get("template") instanceof JsonObject object) {
      return PromptTemplate.fromJson(StrictJson.compact(object));
    }
    String name = json.string("template");
    return PromptTemplate.byName(name)
        .orElseThrow(
            () ->
                new LlaraException(
                    "%s: template is '%s'; known are %s"
                        .formatted(json.where(), name, String.join(", ", PromptTemplate.names()))));
  }

  /** A name, not a path: a folder from elsewhere does not get to point outside of itself. */
  private Path inFolder(String name, String what) {
    Path file = beside(name);
    if (!Path.of(name).equals(file.getFileName()) || !Files.exists(file)) {
      throw new LlaraException(
          "%s: the %s '%s' is not in the folder".formatted(json.where(), what, name));
    }
    return file;
  }

  /** Returns a case of this file. */
  GoldenCase oneCase(
      String name,
      GoldenJson one,
      Optional<BiFunction<GoldenFile, GoldenJson, GoldenCase.Replay>> kind) {
    return new GoldenCase(name(), name, kind.map(replay -> replay.apply(this, one)));
  }

  /** Fails if the file with the tensors is not there. */
  void requireTensors() {
    var unused = tensors.get();
  }

  /** Returns the number of tokens of the longest row of {@code input_ids} in the cases. */
  int longestRow() {
    return longestRow.get();
  }

  private int findLongestRow() {
    return json.objects("cases").stream()
        .flatMap(one -> one.rows("input_ids").stream())
        .mapToInt(row -> row.length)
        .max()
        .orElse(1);
  }

  /**
   * Reads a float64 tensor that a case names and checks its shape.
   *
   * @param names maps keys to names of tensors
   */
  double[] tensor(GoldenJson names, String key, long... shape) {
    TensorEntry entry = tensors.get().entry(names.string(key));
    if (!Arrays.equals(entry.shape(), shape)) {
      throw new LlaraException(
          "%s: tensor '%s' has shape %s; expected %s"
              .formatted(
                  tensors.get().path(),
                  names.string(key),
                  Arrays.toString(entry.shape()),
                  Arrays.toString(shape)));
    }
    return entry.readDoubles();
  }

  /** Opens the float64 tensors. Only the header is read now. */
  private SafetensorsFile openTensors() {
    return SafetensorsFile.open(inFolder(json.string("tensor_file_f64"), "tensor file"));
  }
}
