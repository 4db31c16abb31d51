package io.llara;

import static java.util.Objects.requireNonNull;

import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlaraJson;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineOptions;
import io.llara.engine.PooledVectors;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Turns texts into embeddings with a LLaMA checkpoint (LLaRA, arXiv 2312.15503).
 *
 * <pre>{@code
 * try (Encoder encoder = Encoder.load(Path.of("model-dir"))) {
 *   float[] query = encoder.encode("What is a llama?", Mode.NEXT);
 *   float[] passage = encoder.encode("The llama is a South American camelid.", Mode.SELF);
 *   double score = Similarity.cosine(query, passage);
 * }
 * }</pre>
 *
 * <p>Thread-safe: any number of threads, virtual ones included, may call one encoder; their texts
 * share batches. The forward pass runs on threads of the encoder's own. Results do not depend on
 * what else is encoded at the same time (cosine ≥ 0.999999 in float32).
 *
 * <p>An encoder holds native memory until it is closed. Closing ends running calls with an {@link
 * IllegalStateException}; so does every call after it. Embeddings are plain arrays and stay valid.
 */
public final class Encoder implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Encoder.class);

  /**
   * The longest prompt by default, in tokens, if the checkpoint does not say what it was trained
   * with.
   */
  private static final int DEFAULT_MAX_TOKENS = 512;

  /** Texts of one window are sorted by length; two windows are under way at a time. */
  private static final int WINDOW_TEXTS = 4096;

  private static final int WINDOW_TOKENS = 1 << 18;

  private final Tokenizer tokenizer;
  private final PromptBuilder prompts;
  private final PromptTemplate template;
  private final EncodingEngine engine;
  private final int maxTokens;
  private final int dimension;
  private final boolean normalize;
  private final Overflow overflow;
  private final ProgressListener progress;

  private final AtomicBoolean closed = new AtomicBoolean();
  private final LongAdder texts = new LongAdder();
  private final LongAdder tokens = new LongAdder();
  private final LongAdder truncatedTexts = new LongAdder();
  private final LongAdder truncatedTokens = new LongAdder();

  private Encoder(
      Builder builder,
      Tokenizer tokenizer,
      PromptTemplate template,
      PromptBuilder prompts,
      EncodingEngine engine,
      int dimension,
      boolean normalize) {
    this.tokenizer = tokenizer;
    this.template = template;
    this.prompts = prompts;
    this.engine = engine;
    this.maxTokens = engine.maxTokens();
    this.dimension = dimension;
    this.normalize = normalize;
    this.overflow = builder.overflow;
    this.progress = builder.progress;
  }

  /**
   * Opens a checkpoint with the default settings.
   *
   * @param dir a Hugging Face model directory: {@code config.json}, {@code tokenizer.json} and
   *     {@code model.safetensors} or its shards
   * @throws ModelLoadException if a file is missing, damaged or does not fit
   * @throws UnsupportedModelException if the model is of a kind this library does not support
   */
  public static Encoder load(Path dir) {
    return builder(dir).build();
  }

  /** Returns a builder for an encoder of the checkpoint in a directory. */
  public static Builder builder(Path dir) {
    return new Builder(dir);
  }

  /**
   * Encodes one text.
   *
   * @return {@code [dimension()]}, of length 1 unless normalisation is off
   * @throws IllegalArgumentException if the text is empty or blank
   * @throws TokenizationException if the text has a lone surrogate, or is too long and the encoder
   *     refuses such texts
   * @throws LlaraException if the embedding is not finite or the forward pass failed, or this
   *     thread was interrupted
   * @throws IllegalStateException if the encoder is closed
   */
  public float[] encode(String text, Mode mode) {
    requireNonNull(mode, "mode");
    return encodePrompt(prompt(text, mode), mode);
  }

  /** Encodes a search query: {@link #encode} with {@link Mode#NEXT}. */
  public float[] encodeQuery(String text) {
    return encode(text, Mode.NEXT);
  }

  /** Encodes a passage to be found: {@link #encode} with {@link Mode#SELF}. */
  public float[] encodePassage(String text) {
    return encode(text, Mode.SELF);
  }

  /**
   * Encodes one text in both modes with one forward pass over the joint prompt, or over two prompts
   * if the template's modes share no prefix.
   *
   * @throws RuntimeException as {@link #encode}
   */
  public EmbeddingPair encodeBoth(String text) {
    if (!prompts.canJoin()) {
      return new EmbeddingPair(encode(text, Mode.SELF), encode(text, Mode.NEXT));
    }
    requireOpen();
    Prompt joint = counted(prompts.buildJoint(text, maxTokens));
    PooledVectors vectors = engine.encode(List.of(joint)).get(0);
    return new EmbeddingPair(finish(vectors.get(Mode.SELF)), finish(vectors.get(Mode.NEXT)));
  }

  /**
   * Encodes the prompt of {@code PromptBuilder.fromIds}, for callers with token ids of their own.
   *
   * @throws IllegalArgumentException if the prompt is longer than {@link #maxTokens()}, has an id
   *     outside of the vocabulary or no suffix of this mode
   * @throws RuntimeException as {@link #encode}
   */
  public float[] encodePrompt(Prompt prompt, Mode mode) {
    requireNonNull(mode, "mode");
    requireOpen();
    return finish(engine.encode(List.of(prompt)).get(0).get(mode));
  }

  /**
   * Encodes many texts, in batches by number of tokens, the longest texts first.
   *
   * @return one embedding for each text, in the order of the texts
   * @throws RuntimeException as {@link #encode}; the message names the text by its index
   */
  public List<float[]> encodeAll(List<String> texts, Mode mode) {
    List<float[]> embeddings = new ArrayList<>(texts.size());
    encodeAll(
        texts.iterator(),
        texts.size(),
        mode,
        (index, text, embedding) -> embeddings.add(embedding));
    return embeddings;
  }

  /**
   * Encodes a stream of any length in bounded memory. The stream is read, and the sink called, on
   * this thread. The stream is not closed.
   *
   * <p>An interrupt of this thread or an exception of the sink or the stream ends the work under
   * way.
   *
   * @throws RuntimeException as {@link #encode}, or what the stream or the sink throw
   */
  public void encodeAll(Stream<String> texts, Mode mode, EmbeddingSink sink) {
    encodeAll(texts.iterator(), -1, mode, sink);
  }

  /** Texts whose forward passes are under way. */
  private record Window(List<String> texts, EncodingEngine.Pending<PooledVectors> pending) {}

  private void encodeAll(Iterator<String> source, long total, Mode mode, EmbeddingSink sink) {
    requireNonNull(mode, "mode");
    requireOpen();
    Deque<Window> underWay = new ArrayDeque<>();
    long read = 0;
    long done = 0;
    try {
      while (source.hasNext() || !underWay.isEmpty()) {
        while (underWay.size() < 2 && source.hasNext()) {
          Window window = start(source, read, mode);
          underWay.add(window);
          read += window.texts().size();
        }
        Window window = underWay.element();
        long before = done;
        List<PooledVectors> vectors =
            window.pending().await(count -> progress.progress(before + count, total));
        underWay.remove();
        for (int i = 0; i < vectors.size(); i++) {
          if (Thread.interrupted()) {
            throw new InterruptedException();
          }
          float[] embedding;
          try {
            embedding = finish(vectors.get(i).get(mode));
          } catch (LlaraException e) {
            throw new LlaraException("text " + done + ": " + e.getMessage(), e);
          }
          sink.accept(done, window.texts().get(i), embedding);
          done++;
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LlaraException("interrupted after " + done + " texts", e);
    } finally {
      underWay.forEach(window -> window.pending().abandon());
    }
  }

  private Window start(Iterator<String> source, long first, Mode mode) {
    List<String> windowTexts = new ArrayList<>();
    List<Prompt> windowPrompts = new ArrayList<>();
    long rows = 0;
    while (source.hasNext() && windowTexts.size() < WINDOW_TEXTS && rows < WINDOW_TOKENS) {
      String text = source.next();
      Prompt prompt = numberedPrompt(text, mode, first + windowTexts.size());
      windowTexts.add(text);
      windowPrompts.add(prompt);
      rows += prompt.length();
    }
    return new Window(windowTexts, engine.submit(windowPrompts));
  }

  private Prompt numberedPrompt(@Nullable String text, Mode mode, long index) {
    String place = "text " + index + ": ";
    if (text == null) {
      throw new IllegalArgumentException(place + "it is null");
    }
    try {
      return prompt(text, mode);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(place + e.getMessage(), e);
    } catch (TokenizationException e) {
      throw new TokenizationException(place + e.getMessage(), e);
    }
  }

  private Prompt prompt(String text, Mode mode) {
    requireNonNull(text, "text");
    requireOpen();
    return counted(prompts.build(text, mode, maxTokens));
  }

  private Prompt counted(Prompt prompt) {
    if (prompt.truncatedTokens() > 0) {
      if (overflow == Overflow.REFUSE) {
        throw new TokenizationException(
            "the text has "
                + (prompt.textLength() + prompt.truncatedTokens())
                + " tokens; "
                + prompt.textLength()
                + " fit into the "
                + maxTokens
                + " of this encoder beside its prompt");
      }
      truncatedTexts.increment();
      truncatedTokens.add(prompt.truncatedTokens());
    }
    texts.increment();
    tokens.add(prompt.length());
    return prompt;
  }

  /** Cuts a pooled vector to the dimension asked for and scales it to length 1. */
  private float[] finish(float[] pooled) {
    float[] embedding = new float[dimension];
    double sum = 0;
    for (int i = 0; i < dimension; i++) {
      embedding[i] = pooled[i];
      sum += (double) pooled[i] * pooled[i];
    }
    if (!Double.isFinite(sum)) {
      throw new LlaraException(
          "the embedding is not finite: the checkpoint's weights have NaN or infinite values, or overflow in "
              + computeType());
    }
    if (normalize) {
      double norm = Math.sqrt(sum);
      if (norm < Float.MIN_NORMAL) {
        throw new LlaraException("the embedding is zero and has no direction");
      }
      for (int i = 0; i < dimension; i++) {
        embedding[i] = (float) (embedding[i] / norm);
      }
    }
    return embedding;
  }

  private void requireOpen() {
    if (closed.get()) {
      throw new IllegalStateException("the encoder is closed");
    }
  }

  /** Returns the length of the embeddings. */
  public int dimension() {
    return dimension;
  }

  /** Returns whether embeddings are scaled to length 1. */
  public boolean normalizes() {
    return normalize;
  }

  /** Returns the longest prompt, in tokens, template included. */
  public int maxTokens() {
    return maxTokens;
  }

  /** Returns the template in use. */
  public PromptTemplate template() {
    return template;
  }

  /** Returns the builder of this encoder's prompts; usable until the encoder is closed. */
  public PromptBuilder prompts() {
    return prompts;
  }

  /** Returns the type computed in, never {@link ComputeType#AUTO}. */
  public ComputeType computeType() {
    return engine.computeType();
  }

  /** Returns how many threads run forward passes. */
  public int lanes() {
    return engine.lanes();
  }

  /** Returns what this encoder has done so far. */
  public EncoderStatistics statistics() {
    return new EncoderStatistics(
        texts.sum(), tokens.sum(), truncatedTexts.sum(), truncatedTokens.sum());
  }

  /**
   * Ends running calls, waits until no forward pass runs and frees all native memory. Harmless when
   * repeated.
   */
  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      engine.close();
      tokenizer.close();
    }
  }

  /** Settings of an encoder. {@link #build} checks them all at once. */
  public static final class Builder {
    private final Path dir;
    private @Nullable PromptTemplate template;
    private @Nullable String templateName;
    private ComputeType computeType = ComputeType.AUTO;
    private Device device = Device.AUTO;
    private @Nullable Integer maxTokens;
    private @Nullable Integer batchTokens;
    private int threads = Runtime.getRuntime().availableProcessors();
    private @Nullable Integer dimension;
    private @Nullable Boolean normalize;
    private Overflow overflow = Overflow.TRUNCATE;
    private boolean copyWeights;
    private @Nullable Path adapter;
    private ProgressListener progress = (done, total) -> {};

    private Builder(Path dir) {
      this.dir = requireNonNull(dir, "dir");
    }

    /**
     * Sets the prompt template. By default that of the checkpoint's {@code llara.json}; without one
     * the released Llama2Vec recipe if the tokenizer has its markers, else the paper's, with a
     * warning.
     */
    public Builder template(PromptTemplate template) {
      this.template = requireNonNull(template, "template");
      this.templateName = null;
      return this;
    }

    /**
     * Sets the prompt template by the name of a recipe, such as {@code llama2vec} or {@code
     * llara-paper}.
     */
    public Builder template(String name) {
      this.templateName = requireNonNull(name, "name");
      this.template = null;
      return this;
    }

    /** Sets the type to compute in; {@link ComputeType#AUTO} by default. */
    public Builder computeType(ComputeType type) {
      this.computeType = requireNonNull(type, "type");
      return this;
    }

    /** Sets the device; {@link Device#AUTO} by default. */
    public Builder device(Device device) {
      this.device = requireNonNull(device, "device");
      return this;
    }

    /**
     * Sets the longest prompt in tokens; by default what the checkpoint was trained with, else 512,
     * at most what the model has positions for.
     */
    public Builder maxTokens(int tokens) {
      this.maxTokens = tokens;
      return this;
    }

    /**
     * Sets how many tokens are computed at once on one thread; by default 512 in float32 and 1024
     * in bfloat16. More need more memory.
     */
    public Builder batchTokens(int tokens) {
      this.batchTokens = tokens;
      return this;
    }

    /** Sets how many threads run forward passes; one per processor by default. */
    public Builder threads(int count) {
      this.threads = count;
      return this;
    }

    /**
     * Cuts embeddings to their first {@code dimension} components, before they are normalised; the
     * hidden size by default.
     */
    public Builder dimension(int dimension) {
      this.dimension = dimension;
      return this;
    }

    /**
     * Sets whether embeddings are scaled to length 1; by default as the checkpoint was trained,
     * else true.
     */
    public Builder normalize(boolean normalize) {
      this.normalize = normalize;
      return this;
    }

    /** Sets what happens to texts that do not fit; {@link Overflow#TRUNCATE} by default. */
    public Builder onOverflow(Overflow overflow) {
      this.overflow = requireNonNull(overflow, "overflow");
      return this;
    }

    /**
     * Sets whether weights are copied into memory instead of mapped from their files; false by
     * default. A mapped file that becomes shorter while it is in use ends the process: copy where
     * files may change underneath.
     */
    public Builder copyWeights(boolean copy) {
      this.copyWeights = copy;
      return this;
    }

    /** Merges a PEFT LoRA adapter into the weights as they are loaded. */
    public Builder adapter(Path dir) {
      this.adapter = requireNonNull(dir, "dir");
      return this;
    }

    /** Sets a listener for the progress of {@link Encoder#encodeAll}. */
    public Builder progress(ProgressListener listener) {
      this.progress = requireNonNull(listener, "listener");
      return this;
    }

    /**
     * Loads the checkpoint.
     *
     * @throws IllegalArgumentException if settings are out of range; all that are wrong are named
     * @throws ModelLoadException if a file is missing, damaged or does not fit
     * @throws UnsupportedModelException if the model is of a kind this library does not support
     */
    public Encoder build() {
      checkNumbers();
      CheckpointDirectory checkpoint = CheckpointDirectory.open(dir);
      LlamaConfig config = checkpoint.config();
      @Nullable LlaraJson trained = checkpoint.llaraJson().orElse(null);
      int length = resolveDimension(config);
      int longest = resolveMaxTokens(config, trained);
      Tokenizer tokenizer = Tokenizer.load(dir);
      try {
        requireFits(tokenizer, config);
        PromptTemplate resolved = resolveTemplate(trained, tokenizer);
        PromptBuilder prompts = PromptBuilder.create(resolved, tokenizer);
        if (longest < prompts.minimumTokens()) {
          throw new IllegalArgumentException(
              "maxTokens is "
                  + longest
                  + "; the template "
                  + resolved.name()
                  + " alone needs "
                  + prompts.minimumTokens());
        }
        EncodingEngine engine =
            EncodingEngine.open(
                checkpoint,
                EngineOptions.builder()
                    .computeType(computeType)
                    .lanes(threads)
                    .batchTokens(batchTokens)
                    .maxTokens(longest)
                    .copyWeights(copyWeights)
                    .adapter(adapter)
                    .build());
        return new Encoder(
            this,
            tokenizer,
            resolved,
            prompts,
            engine,
            length,
            normalize != null ? normalize : trained == null || trained.normalize());
      } catch (RuntimeException | Error e) {
        tokenizer.close();
        throw e;
      }
    }

    private void checkNumbers() {
      List<String> wrong = new ArrayList<>();
      check(wrong, "maxTokens", maxTokens, EngineOptions.MOST_TOKENS);
      check(wrong, "batchTokens", batchTokens, EngineOptions.MOST_TOKENS);
      check(wrong, "threads", threads, EngineOptions.MOST_LANES);
      check(wrong, "dimension", dimension, Integer.MAX_VALUE);
      if (templateName != null && PromptTemplate.byName(templateName).isEmpty()) {
        wrong.add(
            "template is \""
                + templateName
                + "\"; known are "
                + String.join(", ", PromptTemplate.names()));
      }
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", wrong));
      }
    }

    private static void check(List<String> wrong, String name, @Nullable Integer value, int most) {
      if (value != null && (value < 1 || value > most)) {
        wrong.add(name + " is " + value + "; expected a number from 1 to " + most);
      }
    }

    private int resolveDimension(LlamaConfig config) {
      int hidden = config.hiddenSize();
      if (dimension == null) {
        return hidden;
      }
      if (dimension > hidden) {
        throw new IllegalArgumentException(
            "dimension is " + dimension + "; the model's hidden states have " + hidden);
      }
      return dimension;
    }

    private int resolveMaxTokens(LlamaConfig config, @Nullable LlaraJson trained) {
      int positions = config.maxPositionEmbeddings();
      int window = config.slidingWindow().orElse(Integer.MAX_VALUE);
      if (maxTokens == null) {
        int wanted = DEFAULT_MAX_TOKENS;
        if (trained != null
            && (trained.maxQueryTokens().isPresent() || trained.maxPassageTokens().isPresent())) {
          wanted =
              Math.max(trained.maxQueryTokens().orElse(0), trained.maxPassageTokens().orElse(0));
        }
        return Math.min(wanted, Math.min(positions, window));
      }
      if (maxTokens > positions) {
        throw new IllegalArgumentException(
            "maxTokens is " + maxTokens + "; the model was made for " + positions + " positions");
      }
      if (maxTokens > window) {
        throw new UnsupportedModelException(
            "maxTokens is "
                + maxTokens
                + " and the model's sliding window "
                + window
                + "; supported are prompts up to the window");
      }
      return maxTokens;
    }

    private void requireFits(Tokenizer tokenizer, LlamaConfig config) {
      if (tokenizer.vocabularySize() > config.vocabularySize()) {
        throw new ModelLoadException(
            "%s: the tokenizer has ids up to %d, the model's vocabulary ends at %d; do they belong together?"
                .formatted(dir, tokenizer.vocabularySize() - 1, config.vocabularySize() - 1));
      }
    }

    private PromptTemplate resolveTemplate(@Nullable LlaraJson trained, Tokenizer tokenizer) {
      if (template != null) {
        return template;
      }
      if (templateName != null) {
        return PromptTemplate.byName(templateName).orElseThrow();
      }
      if (trained != null) {
        return trained.template();
      }
      if (PromptBuilder.missingTokens(PromptTemplate.LLAMA2VEC, tokenizer).isEmpty()) {
        return PromptTemplate.LLAMA2VEC;
      }
      LOG.warn(
          "{} has no {} and its tokenizer no LLaRA markers: this model was not trained as an encoder;"
              + " using the template {}",
          dir,
          LlaraJson.FILE_NAME,
          PromptTemplate.PAPER.name());
      return PromptTemplate.PAPER;
    }
  }
}
