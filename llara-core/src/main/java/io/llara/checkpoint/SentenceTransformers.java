package io.llara.checkpoint;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import io.llara.ModelLoadException;
import io.llara.io.JsonSection;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import io.llara.prompt.Pooling;
import io.llara.prompt.PromptTemplate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The recipe of a directory of the sentence-transformers library: {@code modules.json}, the
 * configuration of the pooling, {@code config_sentence_transformers.json} with the prompts, {@code
 * sentence_bert_config.json} with the length.
 *
 * <p>What changes vectors and cannot be done is refused by name.
 */
final class SentenceTransformers {
  static final String MODULES = "modules.json";
  static final String SETTINGS = "config_sentence_transformers.json";
  static final String LENGTH = "sentence_bert_config.json";

  /** What the library calls the length where none is set is near 10^30. */
  private static final double NO_LENGTH = Integer.MAX_VALUE;

  static final String SETTINGS_OF_MODULE = "config.json";

  static final String ACTIVATION = "activation_function";

  /** What the pooling calls its vector. */
  private static final String POOLED = "sentence_embedding";

  private static final ImmutableMap<String, DenseLayer.Activation> ACTIVATIONS =
      ImmutableMap.of(
          "torch.nn.modules.linear.Identity", DenseLayer.Activation.LINEAR,
          "torch.nn.modules.activation.Tanh", DenseLayer.Activation.TANH);

  private static final String MODE_PREFIX = "pooling_mode_";

  /** The keys of old files, and what new ones call the same. */
  static final ImmutableMap<String, String> OLD_MODES =
      ImmutableMap.of(
          "pooling_mode_cls_token", "cls",
          "pooling_mode_mean_tokens", "mean",
          "pooling_mode_max_tokens", "max",
          "pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens",
          "pooling_mode_weightedmean_tokens", "weightedmean",
          "pooling_mode_lasttoken", "lasttoken");

  private static final ImmutableMap<String, Pooling> POOLINGS =
      ImmutableMap.of("lasttoken", Pooling.LAST_TOKEN, "mean", Pooling.MEAN_OF_PROMPT);

  /** What may stand in the file of the length, with what it must be where it is there. */
  private static final ImmutableMap<String, String> NEUTRAL =
      ImmutableMap.of(
          "do_lower_case", "false",
          "transformer_task", "the string 'feature-extraction'",
          "module_output_name", "the string 'token_embeddings'",
          "processing_kwargs", "null",
          "query_expansion", "false");

  private final Path dir;
  private final LlamaConfig config;

  private SentenceTransformers(Path dir, LlamaConfig config) {
    this.dir = dir;
    this.config = config;
  }

  /**
   * Reads the recipe, if the directory has one.
   *
   * @throws ModelLoadException if a file is damaged; {@link io.llara.UnsupportedModelException} if
   *     it asks for something that would give other vectors here
   */
  static Optional<LlaraJson> read(Path dir, LlamaConfig config) {
    return Files.exists(dir.resolve(MODULES))
        ? Optional.of(new SentenceTransformers(dir, config).read())
        : Optional.empty();
  }

  private LlaraJson read() {
    JsonSection list = modules();
    List<JsonSection> modules = list.sections("modules").orElseThrow();
    String types =
        modules.stream().map(SentenceTransformers::type).collect(Collectors.joining(", "));
    if (!types.matches("Transformer, Pooling(, Dense)?(, Normalize)?")) {
      throw list.unsupported(
          "modules", types, "Transformer, Pooling, and maybe Dense and Normalize");
    }
    boolean normalizes = types.endsWith("Normalize");
    String weights = modules.get(0).string("path").orElse("");
    if (!weights.isEmpty()) {
      throw modules.get(0).unsupported("path", Messages.quote(weights), "'', the directory itself");
    }
    JsonSection pooling = StrictJson.modelFile(folder(modules.get(1)).resolve(SETTINGS_OF_MODULE));
    Optional<DenseLayer.Location> dense =
        types.contains("Dense") ? Optional.of(dense(folder(modules.get(2)))) : Optional.empty();
    Optional<JsonSection> settings = optional(SETTINGS);
    @Nullable JsonSection prompts = settings.flatMap(json -> json.section("prompts")).orElse(null);
    String usual = settings.flatMap(json -> json.string("default_prompt_name")).orElse("");
    String query = prompt(prompts, Stream.of("query", usual));
    String passage = prompt(prompts, Stream.of("document", "passage", "corpus", usual));
    PromptTemplate template =
        PromptTemplate.builder("sentence-transformers")
            .nextPrefix(query)
            .selfPrefix(passage)
            .joined()
            .pooling(pooling(pooling, !query.isEmpty() || !passage.isEmpty()))
            .build();
    OptionalInt length = length();
    try {
      return new LlaraJson(template, normalizes, length, length)
          .withDense(dense)
          .withDimension(
              settings.map(json -> json.optionalInt("truncate_dim")).orElse(OptionalInt.empty()));
    } catch (IllegalArgumentException e) {
      throw new ModelLoadException("%s: %s".formatted(dir.resolve(SETTINGS), e.getMessage()), e);
    }
  }

  /** The file is a list; read as the member of an object, its errors have a place. */
  private JsonSection modules() {
    Path file = dir.resolve(MODULES);
    try {
      if (Files.size(file) > StrictJson.MAX_FILE_BYTES) {
        throw new ModelLoadException(
            "%s: has %d bytes; expected a short list".formatted(file, Files.size(file)));
      }
      return StrictJson.modelText(
          "{\"modules\":%s}".formatted(Files.readString(file)), file.toString());
    } catch (IOException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  /** The class without its package, which has moved; classes of others are named in full. */
  private static String type(JsonSection module) {
    String type = module.requiredString("type");
    return type.startsWith("sentence_transformers.")
        ? type.substring(type.lastIndexOf('.') + 1)
        : type;
  }

  private Path folder(JsonSection module) {
    String name = module.requiredString("path");
    if (!name.matches("\\w[\\w.-]*")) {
      throw module.invalid("path", Messages.quote(name), "the name of a folder");
    }
    return dir.resolve(name);
  }

  private DenseLayer.Location dense(Path folder) {
    JsonSection json = StrictJson.modelFile(folder.resolve(SETTINGS_OF_MODULE));
    json.refuseUnknownKeys(
        ImmutableSet.of(
            "in_features",
            "out_features",
            "bias",
            ACTIVATION,
            "module_input_name",
            "module_output_name"));
    for (String key : List.of("module_input_name", "module_output_name")) {
      String name = json.string(key).orElse(POOLED);
      if (!name.equals(POOLED)) {
        throw json.unsupported(key, Messages.quote(name), "'" + POOLED + "'");
      }
    }
    String function = json.requiredString(ACTIVATION);
    DenseLayer.Activation activation = ACTIVATIONS.get(function);
    if (activation == null) {
      throw json.unsupported(
          ACTIVATION, Messages.quote(function), String.join(", ", ACTIVATIONS.keySet()));
    }
    Path weights = folder.resolve(WeightFiles.SINGLE_FILE);
    return new DenseLayer.Location(dir.relativize(weights).toString(), activation);
  }

  private Optional<JsonSection> optional(String name) {
    Path file = dir.resolve(name);
    return Files.exists(file) ? Optional.of(StrictJson.modelFile(file)) : Optional.empty();
  }

  /** Returns the first of the prompts that is there, as the library's encode_query does. */
  private static String prompt(@Nullable JsonSection prompts, Stream<String> names) {
    return prompts == null
        ? ""
        : names.flatMap(name -> prompts.string(name).stream()).findFirst().orElse("");
  }

  private Pooling pooling(JsonSection json, boolean prompts) {
    json.refuseUnknownKeys(
        Stream.concat(
                OLD_MODES.keySet().stream(),
                Stream.of(
                    "pooling_mode",
                    "include_prompt",
                    "embedding_dimension",
                    "word_embedding_dimension"))
            .collect(ImmutableSet.toImmutableSet()));
    Set<String> modes =
        json.has("pooling_mode")
            ? Set.of(json.requiredString("pooling_mode"))
            : json.keys().stream()
                .filter(key -> key.startsWith(MODE_PREFIX) && json.bool(key).orElse(false))
                .map(OLD_MODES::get)
                .collect(Collectors.toSet());
    String mode = modes.isEmpty() ? "mean" : String.join(" and ", modes);
    Pooling pooling = POOLINGS.get(mode);
    if (pooling == null) {
      throw json.unsupported("pooling_mode", Messages.quote(mode), "lasttoken, mean");
    }
    if (pooling != Pooling.LAST_TOKEN && prompts && !json.bool("include_prompt").orElse(true)) {
      throw json.unsupported("include_prompt", "false with the mean", "true, or the last token");
    }
    for (String key : List.of("embedding_dimension", "word_embedding_dimension")) {
      int dimension = json.integer(key).orElse(config.hiddenSize());
      if (dimension != config.hiddenSize()) {
        throw json.invalid(
            key, Integer.toString(dimension), "the model's hidden size, " + config.hiddenSize());
      }
    }
    return pooling;
  }

  /** Returns the longest prompt: that of the files, never more than the model has positions for. */
  private OptionalInt length() {
    Optional<JsonSection> json = optional(LENGTH);
    json.ifPresent(this::requireNeutral);
    OptionalInt own =
        json.map(section -> section.optionalInt("max_seq_length")).orElse(OptionalInt.empty());
    if (own.isPresent()) {
      return own;
    }
    double tokenizers =
        optional("tokenizer_config.json")
            .flatMap(section -> section.number("model_max_length"))
            .orElse(NO_LENGTH);
    return OptionalInt.of((int) Math.min(tokenizers, config.maxPositionEmbeddings()));
  }

  private void requireNeutral(JsonSection json) {
    NEUTRAL.forEach(
        (key, neutral) -> {
          if (json.has(key) && !json.describe(key).equals(neutral)) {
            throw json.unsupported(key, json.describe(key), neutral);
          }
        });
    json.section("modality_config")
        .flatMap(modality -> modality.section("text"))
        .filter(text -> text.has("method_output_name"))
        .ifPresent(
            text -> {
              String output = text.requiredString("method_output_name");
              if (!output.equals("last_hidden_state")) {
                throw text.unsupported(
                    "method_output_name", Messages.quote(output), "last_hidden_state");
              }
            });
  }

  /** Returns a pooling's name in these files, if it has one. */
  static Optional<String> spelled(Pooling pooling) {
    return POOLINGS.entrySet().stream()
        .filter(entry -> entry.getValue() == pooling)
        .map(entry -> entry.getKey().toLowerCase(Locale.ROOT))
        .findFirst();
  }

  /** Returns an activation's class. */
  static String spelled(DenseLayer.Activation activation) {
    return ACTIVATIONS.entrySet().stream()
        .filter(entry -> entry.getValue() == activation)
        .map(Map.Entry::getKey)
        .findFirst()
        .orElseThrow();
  }
}
