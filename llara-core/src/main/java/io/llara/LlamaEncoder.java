package io.llara;

import static java.util.Objects.requireNonNull;

import io.llara.checkpoint.DenseLayer;
import io.llara.engine.EncodingEngine;
import io.llara.engine.PooledVectors;
import io.llara.engine.Work;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.tokenize.Tokenizer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The encoder of a checkpoint: makes prompts of texts, and embeddings of what an engine pools. */
final class LlamaEncoder implements Encoder {
  /**
   * Texts of one window are sorted by length. Two windows are under way: while the lanes run one,
   * this thread tokenises the next. All have the same number of texts, a power of two, so that a
   * stream that goes on at a multiple of it meets the same windows.
   */
  private static final int WINDOW_PER_LANE = 128;

  private final Tokenizer tokenizer;
  private final PromptBuilder prompts;
  private final EncodingEngine engine;
  private final Settings settings;

  private final int maxTokens;
  private final Counters counters;

  /** With their own maximum lengths; empty in those two themselves. */
  private final Optional<LlamaEncoder> queries;

  private final Optional<LlamaEncoder> passages;

  /** What all views of an encoder have done. */
  private static final class Counters {
    final LongAdder texts = new LongAdder();
    final LongAdder tokens = new LongAdder();
    final LongAdder truncatedTexts = new LongAdder();
    final LongAdder truncatedTokens = new LongAdder();
  }

  /** What the engine need not know. */
  record Settings(
      PromptTemplate template,
      Finish finish,
      Overflow overflow,
      Kinds kinds,
      ProgressListener progress,
      @Nullable EncoderListener listener) {}

  /** What makes an embedding of a pooled vector: a linear layer, the dimension, the length of 1. */
  record Finish(@Nullable DenseLayer dense, int dimension, boolean normalize) {}

  /** How queries and passages are embedded: their modes and their longest prompts, in tokens. */
  record Kinds(TextModes modes, int queryMaxTokens, int passageMaxTokens) {}

  /**
   * Prompts that were submitted together.
   *
   * @param texts their texts, and blank ones that are left out; empty for given prompts
   * @param tokenize the time it took to make the prompts, in nanoseconds
   */
  private record Window(List<String> texts, List<Work<PooledVectors>> works, long tokenize) {
    void cancel() {
      Work.cancel(works);
    }

    long tokens() {
      return works.stream().mapToLong(work -> work.prompt().length()).sum();
    }
  }

  /** How many texts of a stream were blank, and how many tokens the prompts of the others had. */
  private record Totals(long blanks, long tokens) {}

  /** Takes over the tokenizer and the engine. */
  LlamaEncoder(
      Tokenizer tokenizer, PromptBuilder prompts, EncodingEngine engine, Settings settings) {
    this.tokenizer = tokenizer;
    this.prompts = prompts;
    this.engine = engine;
    this.settings = settings;
    this.maxTokens = engine.maxTokens();
    this.counters = new Counters();
    this.queries = Optional.of(new LlamaEncoder(this, settings.kinds().queryMaxTokens()));
    this.passages = Optional.of(new LlamaEncoder(this, settings.kinds().passageMaxTokens()));
  }

  /** Views an encoder with another maximum length. */
  private LlamaEncoder(LlamaEncoder whole, int maxTokens) {
    this.tokenizer = whole.tokenizer;
    this.prompts = whole.prompts;
    this.engine = whole.engine;
    this.settings = whole.settings;
    this.maxTokens = maxTokens;
    this.counters = whole.counters;
    this.queries = Optional.empty();
    this.passages = Optional.empty();
  }

  @Override
  public float[] encode(String text, Mode mode) {
    requireNonNull(mode, "mode");
    return finish(await(submit(text, mode)).get(0).get(mode));
  }

  @Override
  public EmbeddingPair encodeBoth(String text) {
    if (!prompts.canJoin() || !engine.config().causal()) {
      return Encoder.super.encodeBoth(text);
    }
    PooledVectors vectors = await(submit(text, null)).get(0);
    return new EmbeddingPair(finish(vectors.get(Mode.SELF)), finish(vectors.get(Mode.NEXT)));
  }

  @Override
  public CompletableFuture<float[]> encodeAsync(String text, Mode mode) {
    requireNonNull(text, "text");
    requireNonNull(mode, "mode");
    return whenDone(() -> submit(text, mode), mode);
  }

  @Override
  public CompletableFuture<float[]> encodePromptAsync(Prompt prompt, Mode mode) {
    requireNonNull(mode, "mode");
    return whenDone(() -> window(prompt), mode);
  }

  /** Returns the future of the one embedding of a window. */
  private CompletableFuture<float[]> whenDone(Supplier<Window> submission, Mode mode) {
    try {
      Window window = submission.get();
      Work<PooledVectors> work = window.works().get(0);
      CompletableFuture<float[]> embedding =
          work.thenApplyAsync(done -> finish(await(window).get(0).get(mode)));
      embedding.whenComplete((result, error) -> window.cancel());
      return embedding;
    } catch (RuntimeException e) {
      return CompletableFuture.failedFuture(e);
    }
  }

  private Window window(Prompt prompt) {
    return new Window(List.of(), List.of(engine.submit(prompt)), 0);
  }

  @Override
  public float[] encodePrompt(Prompt prompt, Mode mode) {
    requireNonNull(mode, "mode");
    return finish(await(window(prompt)).get(0).get(mode));
  }

  @Override
  public List<float[]> encodePrompts(List<Prompt> prompts, Mode mode) {
    requireNonNull(mode, "mode");
    Window window = new Window(List.of(), engine.submit(prompts), 0);
    return finish(await(window), "prompt ", mode);
  }

  @Override
  public CompletableFuture<List<float[]>> encodeAllAsync(List<String> texts, Mode mode) {
    requireNonNull(texts, "texts");
    requireNonNull(mode, "mode");
    CompletableFuture<Window> window =
        CompletableFuture.supplyAsync(
            () -> submit(texts.iterator(), 0, Integer.MAX_VALUE, mode, BlankTexts.REFUSE));
    CompletableFuture<List<float[]>> embeddings =
        window
            .thenCompose(
                submitted ->
                    CompletableFuture.allOf(submitted.works().toArray(CompletableFuture<?>[]::new)))
            .thenApplyAsync(done -> finish(await(window.join()), "text ", mode));
    embeddings.whenComplete((result, error) -> window.thenAccept(Window::cancel));
    return embeddings;
  }

  @Override
  public EncodedTexts encodeAndCount(List<String> texts, Mode mode) {
    List<float[]> embeddings = new ArrayList<>(texts.size());
    Totals totals =
        encodeStream(
            texts.stream(),
            mode,
            BlankTexts.REFUSE,
            (index, text, embedding) -> embeddings.add(embedding));
    return new EncodedTexts(embeddings, OptionalLong.of(totals.tokens()));
  }

  @Override
  public void encodeAll(Stream<String> texts, Mode mode, EmbeddingSink sink) {
    encodeAll(texts, mode, BlankTexts.REFUSE, sink);
  }

  @Override
  public long encodeAll(Stream<String> texts, Mode mode, BlankTexts blank, EmbeddingSink sink) {
    return encodeStream(texts, mode, blank, sink).blanks();
  }

  private Totals encodeStream(
      Stream<String> texts, Mode mode, BlankTexts blank, EmbeddingSink sink) {
    requireNonNull(mode, "mode");
    requireNonNull(blank, "blank");
    engine.requireOpen();
    Spliterator<String> spliterator = texts.spliterator();
    long total = spliterator.getExactSizeIfKnown();
    Iterator<String> source = Spliterators.iterator(spliterator);
    Deque<Window> underWay = new ArrayDeque<>();
    int window = window();
    long read = 0;
    long done = 0;
    long blanks = 0;
    long tokens = 0;
    try {
      while (source.hasNext() || !underWay.isEmpty()) {
        while (underWay.size() < 2 && source.hasNext()) {
          Window next = submit(source, read, window, mode, blank);
          underWay.add(next);
          read += next.texts().size();
        }
        Window first = underWay.element();
        int computed = 0;
        for (Work<?> work : Work.inRunningOrder(first.works())) {
          work.await();
          computed++;
          settings.progress().progress(done + computed, total);
        }
        underWay.remove();
        report(first);
        tokens += first.tokens();
        Iterator<Work<PooledVectors>> works = first.works().iterator();
        for (String text : first.texts()) {
          if (Thread.interrupted()) {
            throw new InterruptedException();
          }
          if (blank == BlankTexts.REFUSE || !text.isBlank()) {
            PooledVectors vectors = works.next().join();
            sink.accept(done, text, named("text " + done, () -> finish(vectors.get(mode))));
          } else {
            blanks++;
            if (blank == BlankTexts.ZERO) {
              sink.accept(done, text, new float[dimension()]);
            }
          }
          done++;
        }
      }
      return new Totals(blanks, tokens);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LlaraException("interrupted after " + done + " texts", e);
    } finally {
      underWay.forEach(Window::cancel);
    }
  }

  @Override
  public int countTokens(String text, Mode mode) {
    engine.requireOpen();
    return Encoder.super.countTokens(text, mode);
  }

  /** Starts on one text, in one mode or, with null, in both. */
  private Window submit(String text, @Nullable Mode mode) {
    long begin = System.nanoTime();
    Prompt prompt = prompt(text, mode);
    long tokenize = System.nanoTime() - begin;
    return new Window(List.of(text), List.of(engine.submit(prompt)), tokenize);
  }

  /**
   * Starts on the next texts of a source, the first of which has the index {@code first}. Blank
   * texts have no work unless they are refused.
   */
  private Window submit(
      Iterator<String> source, long first, int limit, Mode mode, BlankTexts blank) {
    List<String> windowTexts = new ArrayList<>();
    List<Prompt> windowPrompts = new ArrayList<>();
    long tokenize = 0;
    while (source.hasNext() && windowTexts.size() < limit) {
      String text = source.next();
      String name = "text " + (first + windowTexts.size());
      if (text == null) {
        throw new IllegalArgumentException(name + ": it is null");
      }
      windowTexts.add(text);
      if (blank != BlankTexts.REFUSE && text.isBlank()) {
        continue;
      }
      long begin = System.nanoTime();
      Prompt prompt = named(name, () -> prompt(text, mode));
      tokenize += System.nanoTime() - begin;
      windowPrompts.add(prompt);
    }
    return new Window(windowTexts, engine.submit(windowPrompts), tokenize);
  }

  /** Takes a step with one of many texts and names the text in what goes wrong. */
  private static <T> T named(String name, Supplier<T> step) {
    try {
      return step.get();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(name + ": " + e.getMessage(), e);
    } catch (TokenizationException e) {
      throw new TokenizationException(name + ": " + e.getMessage(), e);
    } catch (LlaraException e) {
      throw new LlaraException(name + ": " + e.getMessage(), e);
    }
  }

  private Prompt prompt(String text, @Nullable Mode mode) {
    requireNonNull(text, "text");
    engine.requireOpen();
    int longest = maxTokens(mode);
    Prompt prompt =
        mode == null ? prompts.buildJoint(text, longest) : prompts.build(text, mode, longest);
    if (prompt.truncatedTokens() > 0) {
      if (settings.overflow() == Overflow.REFUSE) {
        int length = prompt.textLength() + prompt.truncatedTokens();
        throw new TokenizationException(
            "the text has %d tokens; %d fit into the %d of this encoder beside its prompt"
                .formatted(length, prompt.textLength(), longest));
      }
      counters.truncatedTexts.increment();
      counters.truncatedTokens.add(prompt.truncatedTokens());
    }
    counters.texts.increment();
    counters.tokens.add(prompt.length());
    return prompt;
  }

  /** Returns the longest prompt of the kind of texts that a mode is for, if it is for one only. */
  private int maxTokens(@Nullable Mode mode) {
    TextModes modes = modes();
    if (mode == null || modes.query() == modes.passage() || queries.isEmpty()) {
      return maxTokens;
    }
    Kinds kinds = settings.kinds();
    return mode == modes.query() ? kinds.queryMaxTokens() : kinds.passageMaxTokens();
  }

  private List<PooledVectors> await(Window window) {
    List<PooledVectors> vectors = Work.await(window.works());
    report(window);
    return vectors;
  }

  private void report(Window window) {
    EncoderListener listener = settings.listener();
    if (listener == null || window.works().isEmpty()) {
      return;
    }
    long started = Long.MAX_VALUE;
    long ended = Long.MIN_VALUE;
    int truncated = 0;
    for (Work<?> work : window.works()) {
      started = Math.min(started, work.started());
      ended = Math.max(ended, work.ended());
      truncated += work.prompt().truncatedTokens() > 0 ? 1 : 0;
    }
    Duration tokenize = Duration.ofNanos(window.tokenize());
    Duration queue = Duration.ofNanos(started - window.works().get(0).submitted());
    Duration compute = Duration.ofNanos(ended - started);
    int count = window.works().size();
    listener.encoded(
        new EncoderListener.Event(count, window.tokens(), truncated, tokenize, queue, compute));
  }

  private List<float[]> finish(List<PooledVectors> vectors, String what, Mode mode) {
    return IntStream.range(0, vectors.size())
        .mapToObj(i -> named(what + i, () -> finish(vectors.get(i).get(mode))))
        .collect(Collectors.toCollection(ArrayList::new));
  }

  /** Makes an embedding of a pooled vector, maybe in place. */
  private float[] finish(float[] pooled) {
    DenseLayer dense = settings.finish().dense();
    float[] whole = dense == null ? pooled : dense.apply(pooled);
    int dimension = dimension();
    float[] embedding = dimension < whole.length ? Arrays.copyOf(whole, dimension) : whole;
    double sum = 0;
    for (float value : embedding) {
      sum += (double) value * value;
    }
    if (!Double.isFinite(sum)) {
      throw new LlaraException(
          "the embedding is not finite: the checkpoint's weights have NaN or infinite values, or"
              + " overflow in "
              + computeType());
    }
    if (normalizes()) {
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

  @Override
  public int dimension() {
    return settings.finish().dimension();
  }

  @Override
  public boolean normalizes() {
    return settings.finish().normalize();
  }

  @Override
  public int maxTokens() {
    return maxTokens;
  }

  @Override
  public TextModes modes() {
    return settings.kinds().modes();
  }

  @Override
  public Encoder forQueries() {
    return queries.orElse(this);
  }

  @Override
  public Encoder forPassages() {
    return passages.orElse(this);
  }

  @Override
  public PromptTemplate template() {
    return settings.template();
  }

  @Override
  public PromptBuilder prompts() {
    return prompts;
  }

  @Override
  public ComputeType computeType() {
    return engine.computeType();
  }

  @Override
  public String device() {
    return engine.device();
  }

  @Override
  public int lanes() {
    return engine.lanes();
  }

  @Override
  public int window() {
    return Math.min(LARGEST_WINDOW, Integer.highestOneBit(WINDOW_PER_LANE * engine.lanes()));
  }

  @Override
  public EncoderStatistics statistics() {
    return new EncoderStatistics(
        counters.texts.sum(),
        counters.tokens.sum(),
        counters.truncatedTexts.sum(),
        counters.truncatedTokens.sum());
  }

  @Override
  public void close() {
    if (queries.isPresent()) {
      engine.close();
      tokenizer.close();
    }
  }
}
