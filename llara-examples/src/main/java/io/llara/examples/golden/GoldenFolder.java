package io.llara.examples.golden;

import com.google.common.collect.ImmutableList;
import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * A folder of golden files: every {@code *.json} of schema {@code llara-golden-1} in it, with the
 * tensor files and checkpoints they name.
 */
public final class GoldenFolder {
  /** The schema that is read. */
  public static final String SCHEMA = "llara-golden-1";

  /** The files that are replayed; cases in others are listed as not covered. */
  private static final Set<String> KNOWN =
      Set.of(
          "contrastive.json",
          "encode.json",
          "gqa.json",
          "lora.json",
          "losses.json",
          "trajectory.json");

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
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, e.getMessage()), e);
    }
    if (files.isEmpty()) {
      throw new LlaraException("%s: holds no JSON file of schema %s".formatted(folder, SCHEMA));
    }
    return files.stream().flatMap(file -> cases(file).stream()).toList();
  }

  /** Reads a file; empty if it is some other JSON that happens to be in the folder. */
  private static Optional<GoldenFile> read(Path path) {
    GoldenJson json = GoldenJson.read(path);
    if (!json.has("schema") && !KNOWN.contains(path.getFileName().toString())) {
      return Optional.empty();
    }
    String schema = json.string("schema");
    if (!schema.equals(SCHEMA)) {
      throw new LlaraException("%s: schema is '%s'; expected %s".formatted(path, schema, SCHEMA));
    }
    return Optional.of(new GoldenFile(path, json));
  }

  private static List<GoldenCase> cases(GoldenFile file) {
    return switch (file.name()) {
      case "contrastive.json" -> file.cases(ContrastiveCase::new);
      case "encode.json" -> file.cases(EncodeCase::new);
      case "gqa.json" -> file.cases(GqaCase::new);
      case "lora.json" -> withTraining(file, file.cases(LoraCase::new));
      case "losses.json" -> file.cases(LossCase::new);
      case "trajectory.json" ->
          List.of(file.replayed(file.nameOfOneCase(), file.json(), TrajectoryCase::new));
      default -> notCovered(file);
    };
  }

  private static List<GoldenCase> withTraining(GoldenFile file, List<GoldenCase> cases) {
    if (!file.json().has("training")) {
      return cases;
    }
    GoldenJson training = file.json().object("training");
    String name = training.optionalString("name").orElse("training");
    return ImmutableList.<GoldenCase>builder()
        .addAll(cases)
        .add(file.replayed(name, training, LoraTrainingCase::new))
        .build();
  }

  /** A file without a list of cases is one case. */
  private static List<GoldenCase> notCovered(GoldenFile file) {
    Stream<String> names =
        file.json().has("cases")
            ? file.json().objects("cases").stream().map(json -> json.string("name"))
            : Stream.of(file.nameOfOneCase());
    return names.map(name -> new GoldenCase(file.name(), name, Optional.empty())).toList();
  }
}
