package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.stream.Stream;

/**
 * A folder of golden files: every {@code *.json} of schema {@code llara-golden-1} in it, with the
 * tensor files and checkpoints they name.
 */
public final class GoldenFolder {
  /** The schema that is read. */
  public static final String SCHEMA = "llara-golden-1";

  /** What replays the cases of a file; those of other files are listed as not covered. */
  private static final Map<String, BiFunction<GoldenFile, GoldenJson, GoldenCase.Replay>> KINDS =
      Map.of(
          "contrastive.json", ContrastiveCase::new,
          "encode.json", ForwardCase::encode,
          "gqa.json", ForwardCase::gqa,
          "lora.json", ForwardCase::lora,
          "losses.json", AdaptationCase::new,
          "trajectory.json", AdaptationCase::new);

  private GoldenFolder() {}

  /**
   * Lists the cases of a folder, by file name and in the order of the files.
   *
   * @throws LlaraException if it is not a folder of the schema
   */
  public static List<GoldenCase> cases(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new LlaraException(
          "%s: %s; expected a golden folder"
              .formatted(folder, Files.exists(folder) ? "is not a directory" : "does not exist"));
    }
    List<GoldenFile> files;
    try (Stream<Path> entries = Files.list(folder)) {
      files =
          entries
              .filter(path -> path.getFileName().toString().endsWith(".json"))
              .filter(Files::isRegularFile)
              .sorted()
              .flatMap(path -> read(path).stream())
              .toList();
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, Messages.reason(e)), e);
    }
    if (files.isEmpty()) {
      throw new LlaraException("%s: holds no JSON file of schema %s".formatted(folder, SCHEMA));
    }
    return files.stream().flatMap(file -> cases(file).stream()).toList();
  }

  /** Reads a file; empty if it is some other JSON that happens to be in the folder. */
  private static Optional<GoldenFile> read(Path path) {
    GoldenJson json = GoldenJson.read(path);
    if (!json.has("schema") && !KINDS.containsKey(path.getFileName().toString())) {
      return Optional.empty();
    }
    String schema = json.string("schema");
    if (!schema.equals(SCHEMA)) {
      throw new LlaraException("%s: schema is '%s'; expected %s".formatted(path, schema, SCHEMA));
    }
    return Optional.of(new GoldenFile(path, json));
  }

  private static List<GoldenCase> cases(GoldenFile file) {
    GoldenJson json = file.json();
    Optional<BiFunction<GoldenFile, GoldenJson, GoldenCase.Replay>> kind =
        Optional.ofNullable(KINDS.get(file.name()));
    if (kind.isPresent()) {
      // A folder without its tensors is refused before anything is replayed.
      file.requireTensors();
    }
    List<GoldenCase> cases = new ArrayList<>();
    if (json.has("cases")) {
      for (GoldenJson one : json.objects("cases")) {
        cases.add(file.oneCase(one.string("name"), one, kind));
      }
    } else {
      cases.add(file.oneCase(file.name().replaceAll("\\.json$", ""), json, kind));
    }
    if (kind.isPresent() && json.has("training")) {
      GoldenJson training = json.object("training");
      String name = training.optionalString("name").orElse("training");
      cases.add(file.oneCase(name, training, Optional.of(ContrastiveCase::new)));
    }
    return cases;
  }
}
