package io.llara;

import static java.util.Objects.requireNonNull;

import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;

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
 * <p>An encoder made by {@link #load} or {@link #builder} is thread-safe: any number of threads,
 * virtual ones included, may call it; single texts share batches, and step in front of those of
 * {@code encodeAll}: a query waits for a layer of a batch, not for a corpus. The forward pass runs
 * on threads of the encoder's own. Results do not depend on what else is encoded at the same time
 * (cosine ≥ 0.999999 in float32); the same texts given to {@code encodeAll} have the same vectors
 * to the last bit each time, with the same settings on the same machine.
 *
 * <p>It holds native memory until it is closed. Closing ends running calls with an {@link
 * IllegalStateException}; so does every call after it. Embeddings are plain arrays and stay valid.
 *
 * <p>A fake for a test implements {@link #encode} and {@link #dimension}; all else has a default.
 */
public interface Encoder extends AutoCloseable {
  /** The most that {@link #window} may be. */
  @Internal int LARGEST_WINDOW = 1024;

  /**
   * Opens a checkpoint with the default settings.
   *
   * @param model a Hugging Face model directory: {@code config.json}, {@code tokenizer.json} and
   *     {@code model.safetensors} or its shards; or a file whose name ends in {@code .gguf}, as
   *     {@link io.llara.checkpoint.gguf.GgufImporter} reads them
   * @throws ModelLoadException if a file is missing, damaged or does not fit
   * @throws UnsupportedModelException if the model is of a kind this library does not support
   */
  static Encoder load(Path model) {
    return builder(model).build();
  }

  /**
   * Opens a checkpoint with the default settings; one of the Hugging Face hub is downloaded first.
   *
   * @throws ModelLoadException as {@link #load(Path)} and {@link ModelSource#resolve()}
   */
  static Encoder load(ModelSource model) {
    return builder(model).build();
  }

  /**
   * Opens the model on the class path, of the artifact {@code llara-mini} or another {@link
   * BundledModel}, with the default settings. Its weights are held in memory; while they are read,
   * its files lie in the system's temporary folder.
   *
   * @throws ModelLoadException if there is no such model, more than one, or it is damaged or of a
   *     later format than this library reads
   */
  static Encoder loadDefault() {
    return builder().build();
  }

  /** Returns a builder for an encoder of the checkpoint in a directory, or in a GGUF file. */
  static EncoderBuilder builder(Path model) {
    return builder(ModelSource.directory(model));
  }

  /** Returns a builder for an encoder of a checkpoint, which is downloaded as it is built. */
  static EncoderBuilder builder(ModelSource model) {
    return new EncoderBuilder(requireNonNull(model, "model"));
  }

  /** Returns a builder for an encoder of the model on the class path, as {@link #loadDefault}. */
  static EncoderBuilder builder() {
    return new EncoderBuilder(null);
  }

  /**
   * Encodes one text. Where the modes of queries and passages differ, the mode says which of the
   * two the text is, and so how long its prompt may be.
   *
   * @return {@code [dimension()]}, of length 1 unless normalisation is off; the caller's own
   * @throws IllegalArgumentException if the text is empty or blank
   * @throws TokenizationException if the text has a lone surrogate, or is too long and the encoder
   *     refuses such texts
   * @throws LlaraException if the embedding is not finite or the forward pass failed, or this
   *     thread was interrupted
   * @throws IllegalStateException if the encoder is closed
   */
  float[] encode(String text, Mode mode);

  /** Encodes a search query: {@link #forQueries} in the mode of queries. */
  default float[] encodeQuery(String text) {
    return forQueries().encode(text, modes().query());
  }

  /** Encodes a passage to be found: {@link #forPassages} in the mode of passages. */
  default float[] encodePassage(String text) {
    return forPassages().encode(text, modes().passage());
  }

  /** Returns the modes that queries and passages are embedded in; by default NEXT and SELF. */
  default TextModes modes() {
    return TextModes.N2S;
  }

  /**
   * Returns this encoder with the maximum length of queries; by default the encoder itself. It need
   * not be closed and is of no use once this one is.
   */
  default Encoder forQueries() {
    return this;
  }

  /** Returns this encoder with the maximum length of passages, as {@link #forQueries}. */
  default Encoder forPassages() {
    return this;
  }

  /**
   * Encodes one text in both modes with one forward pass over the joint prompt, or over two prompts
   * if the template's modes share no prefix.
   *
   * @throws RuntimeException as {@link #encode}
   */
  default EmbeddingPair encodeBoth(String text) {
    return new EmbeddingPair(encode(text, Mode.SELF), encode(text, Mode.NEXT));
  }

  /**
   * Starts to encode one text. The text is tokenised on this thread; no thread waits for the
   * forward pass. Cancelling the future drops the text.
   *
   * @return completes off this encoder's own threads, with the embedding or with what {@link
   *     #encode} throws
   */
  default CompletableFuture<float[]> encodeAsync(String text, Mode mode) {
    requireNonNull(mode, "mode");
    return CompletableFuture.supplyAsync(() -> encode(text, mode));
  }

  /**
   * Encodes many texts, in batches by number of tokens, the longest texts first.
   *
   * @return one embedding for each text, in the order of the texts
   * @throws RuntimeException as {@link #encode}; the message names the text by its index
   */
  default List<float[]> encodeAll(List<String> texts, Mode mode) {
    List<float[]> embeddings = new ArrayList<>(texts.size());
    encodeAll(texts.stream(), mode, (index, text, embedding) -> embeddings.add(embedding));
    return embeddings;
  }

  /** Encodes many texts as {@link #encodeAll(List, Mode)} does, and counts their tokens. */
  @Internal
  default EncodedTexts encodeAndCount(List<String> texts, Mode mode) {
    List<float[]> embeddings = encodeAll(texts, mode);
    try {
      return new EncodedTexts(
          embeddings,
          OptionalLong.of(
              texts.stream().mapToLong(t -> Math.min(countTokens(t, mode), maxTokens())).sum()));
    } catch (UnsupportedOperationException e) {
      return new EncodedTexts(embeddings, OptionalLong.empty());
    }
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
  default void encodeAll(Stream<String> texts, Mode mode, EmbeddingSink sink) {
    long index = 0;
    for (Iterator<String> source = texts.iterator(); source.hasNext(); index++) {
      String text = source.next();
      sink.accept(index, text, encode(text, mode));
    }
  }

  /**
   * Encodes a stream as {@link #encodeAll(Stream, Mode, EmbeddingSink)}, which refuses blank texts.
   *
   * @param blank what becomes of texts that are empty or nothing but white space
   * @return how many of these there were
   * @throws RuntimeException as {@link #encodeAll(Stream, Mode, EmbeddingSink)}
   */
  default long encodeAll(Stream<String> texts, Mode mode, BlankTexts blank, EmbeddingSink sink) {
    long index = 0;
    long blanks = 0;
    for (Iterator<String> source = texts.iterator(); source.hasNext(); index++) {
      String text = source.next();
      if (blank == BlankTexts.REFUSE || !text.isBlank()) {
        sink.accept(index, text, encode(text, mode));
        continue;
      }
      blanks++;
      if (blank == BlankTexts.ZERO) {
        sink.accept(index, text, new float[dimension()]);
      }
    }
    return blanks;
  }

  /**
   * Starts to encode many texts as {@link #encodeAll(List, Mode)} does, though all prompts are made
   * before the first one runs: for lists of thousands of texts, not for whole collections.
   * Cancelling the future drops the texts.
   *
   * @return completes off this encoder's own threads, with one embedding for each text or with what
   *     {@code encodeAll} throws
   */
  default CompletableFuture<List<float[]>> encodeAllAsync(List<String> texts, Mode mode) {
    requireNonNull(mode, "mode");
    return CompletableFuture.supplyAsync(() -> encodeAll(texts, mode));
  }

  /**
   * Encodes the prompt of {@link PromptBuilder#fromIds(int[], Mode)}, for callers with token ids of
   * their own.
   *
   * @throws IllegalArgumentException if the prompt is longer than {@link #maxTokens()}, has an id
   *     outside of the vocabulary or no suffix of this mode
   * @throws RuntimeException as {@link #encode}
   */
  default float[] encodePrompt(Prompt prompt, Mode mode) {
    return encodePrompts(List.of(prompt), mode).get(0);
  }

  /**
   * Starts to encode a prompt, as {@link #encodeAsync} does with a text: prompts of several calls
   * share batches.
   *
   * @return completes off this encoder's own threads, with the embedding or with what {@link
   *     #encodePrompt} throws
   */
  default CompletableFuture<float[]> encodePromptAsync(Prompt prompt, Mode mode) {
    requireNonNull(mode, "mode");
    return CompletableFuture.supplyAsync(() -> encodePrompt(prompt, mode));
  }

  /**
   * Encodes prompts as {@link #encodeAll(List, Mode)} encodes texts.
   *
   * @return one embedding for each prompt, in the order of the prompts
   * @throws UnsupportedOperationException if this encoder takes only texts
   * @throws RuntimeException as {@link #encodePrompt}
   */
  default List<float[]> encodePrompts(List<Prompt> prompts, Mode mode) {
    throw new UnsupportedOperationException("this encoder takes only texts");
  }

  /**
   * Returns how many tokens the prompt of a text has before any cut: prefix, text and suffix. A
   * text whose prompt has more than {@link #maxTokens()} is cut or refused.
   *
   * @throws UnsupportedOperationException if this encoder has no tokenizer
   * @throws RuntimeException as {@link #encode}
   */
  default int countTokens(String text, Mode mode) {
    return prompts().build(text, mode, Integer.MAX_VALUE).length();
  }

  /** Returns the length of the embeddings. */
  int dimension();

  /** Returns whether embeddings are scaled to length 1; by default true. */
  default boolean normalizes() {
    return true;
  }

  /**
   * Returns the longest prompt, in tokens, template included: of queries and passages, where these
   * differ, the longer one. By default there is no limit.
   */
  default int maxTokens() {
    return Integer.MAX_VALUE;
  }

  /** Returns the template in use; by default one that puts nothing around a text. */
  default PromptTemplate template() {
    return PromptTemplate.builder("none").build();
  }

  /**
   * Returns the builder of this encoder's prompts; usable until the encoder is closed.
   *
   * @throws UnsupportedOperationException if this encoder has no tokenizer
   */
  default PromptBuilder prompts() {
    throw new UnsupportedOperationException("this encoder has no tokenizer");
  }

  /** Returns the type computed in, never {@link ComputeType#AUTO}; by default float32. */
  default ComputeType computeType() {
    return ComputeType.FLOAT32;
  }

  /** Returns the device computed on, such as {@code cuda:0}; by default {@code cpu}. */
  default String device() {
    return "cpu";
  }

  /** Returns how many threads run forward passes; by default 1. */
  default int lanes() {
    return 1;
  }

  /**
   * Returns how many texts of a stream {@link #encodeAll(Stream, Mode, EmbeddingSink) encodeAll}
   * batches among themselves: a stream that goes on at a multiple of it gives the same vectors, to
   * the last bit, as one that began at the first text. A power of two of at most {@value
   * #LARGEST_WINDOW}; by default 1.
   */
  @Internal
  default int window() {
    return 1;
  }

  /** Returns what this encoder has done so far; by default it is not counted. */
  default EncoderStatistics statistics() {
    return new EncoderStatistics(0, 0, 0, 0);
  }

  /**
   * Ends running calls, waits until no forward pass runs and frees all native memory. Harmless when
   * repeated.
   */
  @Override
  default void close() {}
}
