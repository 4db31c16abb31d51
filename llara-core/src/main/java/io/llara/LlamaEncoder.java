package io.llara;

import static java.util.Objects.requireNonNull;

import io.llara.engine.EncodingEngine;
import io.llara.engine.PooledVectors;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.tokenize.Tokenizer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The encoder of a checkpoint: prompts in, finished embeddings out, forward passes on an engine.
 */
final class LlamaEncoder implements Encoder {

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

  LlamaEncoder(
      EncoderBuilder builder,
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

  @Override
  public float[] encode(String text, Mode mode) {
    requireNonNull(mode, "mode");
    return encodePrompt(prompt(text, mode), mode);
  }

  @Override
  public EmbeddingPair encodeBoth(String text) {
    if (!prompts.canJoin()) {
      return new EmbeddingPair(encode(text, Mode.SELF), encode(text, Mode.NEXT));
    }
    requireOpen();
    Prompt joint = counted(prompts.buildJoint(text, maxTokens));
    PooledVectors vectors = engine.encode(joint);
    return new EmbeddingPair(finish(vectors.get(Mode.SELF)), finish(vectors.get(Mode.NEXT)));
  }

  @Override
  public float[] encodePrompt(Prompt prompt, Mode mode) {
    requireNonNull(mode, "mode");
    requireOpen();
    return finish(engine.encode(prompt).get(mode));
  }

  @Override
  public List<float[]> encodePrompts(List<Prompt> prompts, Mode mode) {
    requireNonNull(mode, "mode");
    requireOpen();
    return engine.encode(prompts).stream().map(vectors -> finish(vectors.get(mode))).toList();
  }

  @Override
  public int countTokens(String text, Mode mode) {
    requireOpen();
    return prompts.build(text, mode, Integer.MAX_VALUE).length();
  }

  /** Texts whose forward passes are under way. */
  private record Window(List<String> texts, EncodingEngine.Pending<PooledVectors> pending) {}

  @Override
  public void encodeAll(Stream<String> texts, Mode mode, EmbeddingSink sink) {
    requireNonNull(mode, "mode");
    requireOpen();
    Spliterator<String> spliterator = texts.spliterator();
    long total = spliterator.getExactSizeIfKnown();
    Iterator<String> source = Spliterators.iterator(spliterator);
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

  @Override
  public int dimension() {
    return dimension;
  }

  @Override
  public boolean normalizes() {
    return normalize;
  }

  @Override
  public int maxTokens() {
    return maxTokens;
  }

  @Override
  public PromptTemplate template() {
    return template;
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
  public int lanes() {
    return engine.lanes();
  }

  @Override
  public EncoderStatistics statistics() {
    return new EncoderStatistics(
        texts.sum(), tokens.sum(), truncatedTexts.sum(), truncatedTokens.sum());
  }

  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      engine.close();
      tokenizer.close();
    }
  }
}
