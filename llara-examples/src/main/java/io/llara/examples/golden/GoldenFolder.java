package io.llara.examples.golden;

import com.google.gson.JsonElement;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * A folder of golden files: every {@code *.json} of schema {@code llara-golden-1} in it, with the
 * tensor files and checkpoints they name.
 */
public final class GoldenFolder {
  /** The schema that is read. */
  public static final String SCHEMA = "llara-golden-1";

  /** What is replayed, by the name of the file. Other kinds are listed as not covered. */
  private static final Map<String, Function<GoldenFile, List<GoldenCase>>> KINDS =
      Map.of(
          "contrastive.json", ContrastiveCase::read,
          "encode.json", EncodeCase::read,
          "gqa.json", GqaCase::read,
          "lora.json", LoraCase::read,
          "losses.json", LossCase::read,
          "trajectory.json", TrajectoryCase::read);

  private GoldenFolder() {}

  /**
   * Lists the cases of a folder, by file name and in the order of the files.
   *
   * @throws LlaraException if it is not a folder of the schema
   */
  public static List<GoldenCase> cases(Path folder) {
    List<GoldenCase> cases = new ArrayList<>();
    List<GoldenFile> files = files(folder);
    if (files.isEmpty()) {
      throw new LlaraException("%s: holds no JSON file of schema %s".formatted(folder, SCHEMA));
    }
    for (GoldenFile file : files) {
      cases.addAll(KINDS.getOrDefault(file.name(), GoldenFolder::uncovered).apply(file));
    }
    return cases;
  }

  private static List<GoldenFile> files(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new LlaraException(
          "%s: %s; expected a golden folder"
              .formatted(folder, Files.exists(folder) ? "is no directory" : "does not exist"));
    }
    List<Path> paths;
    try (Stream<Path> entries = Files.list(folder)) {
      paths =
          entries
              .filter(path -> path.getFileName().toString().endsWith(".json"))
              .filter(Files::isRegularFile)
              .sorted()
              .toList();
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, e.getMessage()), e);
    }
    List<GoldenFile> files = new ArrayList<>();
    for (Path path : paths) {
      GoldenJson json = read(path);
      if (!json.has("schema") && !KINDS.containsKey(path.getFileName().toString())) {
        // Some other JSON that lies in the folder.
        continue;
      }
      String schema = json.string("schema");
      if (!schema.equals(SCHEMA)) {
        throw new LlaraException("%s: schema is '%s'; expected %s".formatted(path, schema, SCHEMA));
      }
      files.add(new GoldenFile(folder, path.getFileName().toString(), json));
    }
    return files;
  }

  static GoldenJson read(Path path) {
    try {
      JsonElement json = JsonParser.parseString(Files.readString(path));
      if (!json.isJsonObject()) {
        throw new LlaraException("%s: expected a JSON object".formatted(path));
      }
      return new GoldenJson(path.toString(), json.getAsJsonObject());
    } catch (IOException | JsonParseException e) {
      throw new LlaraException("%s: cannot be read as JSON: %s".formatted(path, e.getMessage()), e);
    }
  }

  /** A file without a list of cases is one case. */
  private static List<GoldenCase> uncovered(GoldenFile file) {
    if (!file.json().has("cases")) {
      return List.of(new UncoveredCase(file.name(), file.nameOfOneCase()));
    }
    return file.cases().stream()
        .<GoldenCase>map(json -> new UncoveredCase(file.name(), json.string("name")))
        .toList();
  }
}
