package io.llara.examples;

import io.llara.BundledModel;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.ModelSource;
import io.llara.io.TemporaryPath;
import io.llara.retrieval.EmbeddingSearch;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The options of commands that retrieve with a model, or with the default one. */
final class RetrievalOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Mixin private EncoderOptions options = new EncoderOptions();

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "The model: a Hugging Face directory, a GGUF file, or owner/name of the hub (default: the bundled"
              + " llara-mini).")
  private @Nullable Path model;

  @Mixin private KindOptions kinds = new KindOptions();

  @Mixin private CacheOptions cache = new CacheOptions();

  private @Nullable Path directory;

  /** Adds the directories that are read. */
  Outputs addTo(Outputs outputs) {
    return outputs
        .reads("--model", model == null ? List.of() : List.of(model))
        .reads("--adapter", options.adapter().stream().toList());
  }

  /** Returns what answers call the model. */
  String modelName() {
    return model == null ? BundledModel.find().name() : ModelSource.of(model).name();
  }

  boolean hasModel() {
    return model != null;
  }

  /** Returns a builder with what was asked for. */
  EncoderBuilder encoder() {
    return kinds.applyTo(options.encoder(directory()));
  }

  /** Returns the exact search by the model's embeddings, which are kept unless they must not be. */
  EmbeddingSearch search(Encoder encoder) {
    EmbeddingSearch search = EmbeddingSearch.of(encoder);
    return cache.place(directory(), options.adapter()).map(search::withCache).orElse(search);
  }

  private Path directory() {
    if (directory == null) {
      directory = model == null ? unpacked() : ((Subcommand) command.userObject()).directory(model);
    }
    return directory;
  }

  private static Path unpacked() {
    // It goes away with the process.
    Path unpacked = TemporaryPath.folder("llara-model").path();
    BundledModel.find().copyTo(unpacked);
    return unpacked;
  }
}
