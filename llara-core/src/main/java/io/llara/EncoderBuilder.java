package io.llara;

import static java.util.Objects.requireNonNull;

import com.google.common.primitives.Ints;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.DenseLayer;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlaraJson;
import io.llara.checkpoint.gguf.GgufImporter;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineBuilder;
import io.llara.io.Ahead;
import io.llara.io.TemporaryPath;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.tensor.Libtorch;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Settings of an encoder, all of them optional. {@link #build} checks them all at once. */
public final class EncoderBuilder {
  /**
   * The longest prompt by default, in tokens, if the checkpoint does not say what it was trained
   * with.
   */
  private static final int DEFAULT_MAX_TOKENS = 512;

  private final @Nullable ModelSource source;
  private final EngineBuilder engine = EncodingEngine.builder();
  private @Nullable PromptTemplate template;
  private @Nullable String unknownTemplate;
  private @Nullable Integer maxTokens;
  private @Nullable Integer queryMaxTokens;
  private @Nullable Integer passageMaxTokens;
  private @Nullable TextModes modes;
  private @Nullable Integer dimension;
  private @Nullable Boolean normalize;
  private Overflow overflow = Overflow.TRUNCATE;
  private ProgressListener progress = (done, total) -> {};
  private @Nullable EncoderListener listener;

  /**
   * Creates one with the defaults.
   *
   * @param source where the model is; null for the model on the class path
   */
  EncoderBuilder(@Nullable ModelSource source) {
    this.source = source;
  }

  /**
   * Sets the prompt template. By default that of the checkpoint's {@code llara.json}, else what its
   * files of the sentence-transformers library say, else the released Llama2Vec recipe if the
   * tokenizer has its markers. A model without any of these needs one.
   */
  public EncoderBuilder template(PromptTemplate template) {
    this.template = requireNonNull(template, "template");
    this.unknownTemplate = null;
    return this;
  }

  /**
   * Sets the prompt template by the name of a recipe, such as {@code llama2vec} or {@code
   * llara-paper}.
   */
  public EncoderBuilder template(String name) {
    this.template = PromptTemplate.byName(requireNonNull(name, "name")).orElse(null);
    this.unknownTemplate = template == null ? name : null;
    return this;
  }

  /** Sets the type to compute in; {@link ComputeType#AUTO} by default. */
  public EncoderBuilder computeType(ComputeType type) {
    engine.computeType(requireNonNull(type, "type"));
    return this;
  }

  /**
   * Sets the longest prompt in tokens; by default what the checkpoint was trained with, else 512,
   * at most what the model has positions for.
   */
  public EncoderBuilder maxTokens(int tokens) {
    this.maxTokens = tokens;
    engine.maxTokens(tokens);
    return this;
  }

  /**
   * Sets the longest prompt of a query in tokens; by default that of {@link #maxTokens} if it is
   * set, else what the checkpoint was trained with.
   */
  public EncoderBuilder queryMaxTokens(int tokens) {
    this.queryMaxTokens = tokens;
    return this;
  }

  /** Sets the longest prompt of a passage in tokens, as {@link #queryMaxTokens}. */
  public EncoderBuilder passageMaxTokens(int tokens) {
    this.passageMaxTokens = tokens;
    return this;
  }

  /**
   * Sets the modes of queries and passages; by default those that the checkpoint was trained with,
   * else {@link TextModes#N2S}.
   */
  public EncoderBuilder modes(TextModes modes) {
    this.modes = requireNonNull(modes, "modes");
    return this;
  }

  /**
   * Sets how many tokens are computed at once on one thread; by default 512 in float32, 1024 in
   * bfloat16 and 8192 on a GPU. More need more memory.
   */
  public EncoderBuilder batchTokens(int tokens) {
    engine.batchTokens(tokens);
    return this;
  }

  /**
   * Sets how many threads run forward passes; one per processor by default. For each GPU it is so
   * many, two by default.
   */
  public EncoderBuilder threads(int count) {
    engine.threads(count);
    return this;
  }

  /**
   * Sets the device to compute on: {@code cpu}, the default; {@code cuda:0} or another GPU by its
   * number; {@code cuda}, which is the first; {@code cuda:0,1} or {@code cuda:all}, which are
   * several, with a copy of the model each, that share the batches; or {@code auto}, the first GPU
   * that can be used, else the processor. A GPU needs {@code io.llara:llara-cuda} and natives for
   * it on the class path.
   *
   * <p>{@link #build} ends with a {@link DeviceException} if the device is not there or does not
   * work, and with an {@link OutOfDeviceMemoryException} before anything is loaded if the model
   * does not fit into what is free of its memory.
   */
  public EncoderBuilder device(String name) {
    engine.device(requireNonNull(name, "name"));
    return this;
  }

  /**
   * Cuts embeddings to their first {@code dimension} components, before they are normalised; by
   * default as the checkpoint says, else the hidden size.
   */
  public EncoderBuilder dimension(int dimension) {
    this.dimension = dimension;
    return this;
  }

  /**
   * Sets whether embeddings are scaled to length 1; by default as the checkpoint was trained, else
   * true.
   */
  public EncoderBuilder normalize(boolean normalize) {
    this.normalize = normalize;
    return this;
  }

  /** Sets what happens to texts that do not fit; {@link Overflow#TRUNCATE} by default. */
  public EncoderBuilder onOverflow(Overflow overflow) {
    this.overflow = requireNonNull(overflow, "overflow");
    return this;
  }

  /**
   * Sets whether weights are copied into memory instead of mapped from their files; false by
   * default, and always so for a GGUF file. A mapped file that becomes shorter while it is in use
   * ends the process: copy where files may change underneath.
   */
  public EncoderBuilder copyWeights(boolean copy) {
    engine.copyWeights(copy);
    return this;
  }

  /** Merges a PEFT LoRA adapter into the weights of a directory as they are loaded. */
  public EncoderBuilder adapter(Path dir) {
    engine.adapter(requireNonNull(dir, "dir"));
    return this;
  }

  /** Sets a listener for the progress of {@link Encoder#encodeAll(java.util.List, Mode)}. */
  public EncoderBuilder progress(ProgressListener listener) {
    this.progress = requireNonNull(listener, "listener");
    return this;
  }

  /** Sets a listener for what encoding takes, for metrics. */
  public EncoderBuilder listener(EncoderListener listener) {
    this.listener = requireNonNull(listener, "listener");
    return this;
  }

  /**
   * Loads the checkpoint.
   *
   * @throws IllegalArgumentException if settings are out of range; all that are wrong are named
   * @throws ModelLoadException if a file is missing, damaged or does not fit, or the model does not
   *     say what its prompts are and no template is set
   * @throws UnsupportedModelException if the model is of a kind this library does not support
   * @throws DeviceException if the device cannot be used or has too little memory
   */
  public Encoder build() {
    requireValid();
    // It takes as long as all else that comes before the weights.
    Libtorch.loadAhead();
    if (source != null) {
      Path model = source.resolve();
      return GgufImporter.isGguf(model) ? buildFromGguf(model) : build(model);
    }
    // Its files are deleted as soon as it is loaded.
    engine.copyWeights(true);
    BundledModel model = BundledModel.find();
    try (TemporaryPath folder = TemporaryPath.folder("llara-model")) {
      try {
        model.copyTo(folder.path());
        return build(folder.path());
      } catch (LlaraException e) {
        throw renamed(e, folder.path(), model.name());
      }
    }
  }

  /** The weights are read from the file; the tokenizer wants files, which it reads at once. */
  private Encoder buildFromGguf(Path file) {
    GgufImporter gguf = GgufImporter.builder(file).build();
    try (TemporaryPath folder = TemporaryPath.folder("llara-model")) {
      try {
        gguf.writeTokenizer(folder.path());
        return build(
            new Model(
                file,
                () -> Tokenizer.load(folder.path()),
                gguf.config(),
                null,
                null,
                () -> engine.open(gguf)));
      } catch (LlaraException e) {
        throw renamed(e, folder.path(), file.toString());
      }
    }
  }

  /** Returns the exception with the model's name in place of the folder's. */
  private static LlaraException renamed(LlaraException e, Path folder, String name) {
    String message = String.valueOf(e.getMessage()).replace(folder.toString(), name);
    if (e instanceof UnsupportedModelException) {
      return new UnsupportedModelException(message, e);
    }
    return e instanceof ModelLoadException ? new ModelLoadException(message, e) : e;
  }

  /**
   * What an encoder is made of.
   *
   * @param path names it in messages
   * @param tokenizer opens the tokenizer, once
   */
  private record Model(
      Path path,
      Supplier<Tokenizer> tokenizer,
      LlamaConfig config,
      @Nullable LlaraJson trained,
      @Nullable DenseLayer dense,
      Supplier<EncodingEngine> engine) {}

  private Encoder build(Path directory) {
    Ahead<Tokenizer> tokenizer = Ahead.begin("llara-tokenizer", () -> Tokenizer.load(directory));
    try {
      CheckpointDirectory checkpoint = CheckpointDirectory.open(directory);
      return build(
          new Model(
              directory,
              tokenizer::get,
              checkpoint.config(),
              checkpoint.llaraJson().orElse(null),
              checkpoint.dense().orElse(null),
              () -> engine.open(checkpoint)));
    } catch (RuntimeException | Error e) {
      tokenizer.discard(Tokenizer::close);
      throw e;
    }
  }

  private Encoder build(Model parts) {
    Path model = parts.path();
    LlamaConfig config = parts.config();
    @Nullable LlaraJson trained = parts.trained();
    @Nullable DenseLayer dense = parts.dense();
    int all = dense == null ? config.hiddenSize() : dense.outputs();
    int length = resolveDimension(all, trained, model);
    OptionalInt trainedQuery = trained == null ? OptionalInt.empty() : trained.maxQueryTokens();
    OptionalInt trainedPassage = trained == null ? OptionalInt.empty() : trained.maxPassageTokens();
    int query = resolveMaxTokens("query", queryMaxTokens, config, trainedQuery, trainedPassage);
    int passage =
        resolveMaxTokens("passage", passageMaxTokens, config, trainedPassage, trainedQuery);
    int longest = Math.max(query, passage);
    Tokenizer tokenizer = parts.tokenizer().get();
    try {
      requireFits(tokenizer, config, model);
      PromptTemplate resolved = resolveTemplate(trained, tokenizer, model);
      PromptBuilder prompts = PromptBuilder.create(resolved, tokenizer);
      TextModes kinds = resolveModes(trained);
      requireRoom("maxTokens", longest, prompts.minimumTokens(), resolved);
      int leastQuery = prompts.minimumTokens(kinds.query());
      int leastPassage = prompts.minimumTokens(kinds.passage());
      if (queryMaxTokens != null) {
        requireRoom("queryMaxTokens", queryMaxTokens, leastQuery, resolved);
      }
      if (passageMaxTokens != null) {
        requireRoom("passageMaxTokens", passageMaxTokens, leastPassage, resolved);
      }
      engine.maxTokens(longest);
      boolean normalizes = normalize != null ? normalize : trained == null || trained.normalize();
      return new LlamaEncoder(
          tokenizer,
          prompts,
          parts.engine().get(),
          new LlamaEncoder.Settings(
              resolved,
              new LlamaEncoder.Finish(dense, length, normalizes),
              overflow,
              new LlamaEncoder.Kinds(
                  kinds, Math.max(query, leastQuery), Math.max(passage, leastPassage)),
              progress,
              listener));
    } catch (RuntimeException | Error e) {
      tokenizer.close();
      throw e;
    }
  }

  private void requireValid() {
    List<String> problems = engine.problems();
    EngineBuilder.requireWithin("dimension", dimension, Integer.MAX_VALUE, problems);
    EngineBuilder.requireWithin("queryMaxTokens", queryMaxTokens, Integer.MAX_VALUE, problems);
    EngineBuilder.requireWithin("passageMaxTokens", passageMaxTokens, Integer.MAX_VALUE, problems);
    if (unknownTemplate != null) {
      String known = String.join(", ", PromptTemplate.names());
      problems.add("template is \"" + unknownTemplate + "\"; known are " + known);
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(String.join("; ", problems));
    }
  }

  private int resolveDimension(int all, @Nullable LlaraJson trained, Path model) {
    if (dimension != null && dimension > all) {
      throw new IllegalArgumentException(
          "dimension is %d; the model's vectors have %d".formatted(dimension, all));
    }
    int usual = trained == null ? all : trained.dimension().orElse(all);
    if (usual > all) {
      throw new ModelLoadException(
          "%s: embeddings are to have %d components; the model's vectors have %d"
              .formatted(model, usual, all));
    }
    return dimension == null ? usual : dimension;
  }

  private int resolveMaxTokens(
      String kind,
      @Nullable Integer own,
      LlamaConfig config,
      OptionalInt trained,
      OptionalInt trainedOther) {
    int positions = config.maxPositionEmbeddings();
    int window = config.slidingWindow().orElse(Integer.MAX_VALUE);
    @Nullable Integer wanted = own != null ? own : maxTokens;
    if (wanted == null) {
      int usual = trained.orElse(trainedOther.orElse(DEFAULT_MAX_TOKENS));
      return Ints.min(usual, positions, window);
    }
    String name = own != null ? kind + "MaxTokens" : "maxTokens";
    if (wanted > positions) {
      throw new IllegalArgumentException(
          "%s is %d; the model was made for %d positions".formatted(name, wanted, positions));
    }
    if (wanted > window) {
      throw new UnsupportedModelException(
          "%s is %d and the model's sliding window %d; supported are prompts up to the window"
              .formatted(name, wanted, window));
    }
    return wanted;
  }

  private static void requireRoom(String name, int tokens, int least, PromptTemplate template) {
    if (tokens < least) {
      throw new IllegalArgumentException(
          "%s is %d; the template %s alone needs %d"
              .formatted(name, tokens, template.name(), least));
    }
  }

  private TextModes resolveModes(@Nullable LlaraJson trained) {
    if (modes != null) {
      return modes;
    }
    return trained == null ? TextModes.N2S : trained.modes();
  }

  private static void requireFits(Tokenizer tokenizer, LlamaConfig config, Path model) {
    if (tokenizer.vocabularySize() > config.vocabularySize()) {
      throw new ModelLoadException(
          "%s: the tokenizer has ids up to %d, the model's vocabulary ends at %d; do they belong together?"
              .formatted(model, tokenizer.vocabularySize() - 1, config.vocabularySize() - 1));
    }
  }

  private PromptTemplate resolveTemplate(
      @Nullable LlaraJson trained, Tokenizer tokenizer, Path model) {
    if (template != null) {
      return template;
    }
    if (trained != null) {
      return trained.template();
    }
    if (PromptBuilder.missingTokens(PromptTemplate.LLAMA2VEC, tokenizer).isEmpty()) {
      return PromptTemplate.LLAMA2VEC;
    }
    throw new ModelLoadException(
        "%s: does not say what its prompts are: it has neither %s nor modules.json, and its tokenizer no LLaRA markers; name a template (%s), or describe one in %s"
            .formatted(
                model,
                LlaraJson.FILE_NAME,
                String.join(", ", PromptTemplate.names()),
                LlaraJson.FILE_NAME));
  }
}
