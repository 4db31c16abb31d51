package io.llara.server;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.server.ApiException.Problem;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Embeds the texts of requests. Those of different requests share batches: each prompt goes to the
 * encoder by itself, whose lanes take as many as fit into their budget of tokens. How many tokens
 * may wait is bounded.
 */
final class Embedder {
  private static final int LONGEST_RETRY_SECONDS = 60;

  private final Encoder encoder;
  private final boolean truncates;
  private final ServerLimits limits;
  private final AtomicLong queuedTokens = new AtomicLong();
  private final AtomicLong queuedTexts = new AtomicLong();
  private final AtomicLong texts = new AtomicLong();
  private final AtomicLong tokens = new AtomicLong();

  /** How long requests took lately, in seconds. */
  private volatile double usualSeconds;

  /**
   * What became of a request.
   *
   * @param vectors one for each text
   * @param tokens the tokens of all prompts
   */
  record Result(List<float[]> vectors, long tokens) {}

  Embedder(Encoder encoder, boolean truncates, ServerLimits limits) {
    this.encoder = encoder;
    this.truncates = truncates;
    this.limits = limits;
  }

  /** Embeds in the modes of the encoder's queries and passages. */
  CompletableFuture<Result> embed(EmbeddingRequest request) {
    Mode mode = request.query() ? encoder.modes().query() : encoder.modes().passage();
    return embed(request, mode);
  }

  /**
   * Starts to embed the texts of a request.
   *
   * @throws ApiException if one cannot be embedded, or too much waits already
   */
  CompletableFuture<Result> embed(EmbeddingRequest request, Mode mode) {
    if (queuedTokens.get() > limits.queuedTokens()) {
      throw overloaded(); // Before it is tokenised.
    }
    int dimension = request.dimensions() == 0 ? encoder.dimension() : request.dimensions();
    if (dimension > encoder.dimension()) {
      throw invalid(
          "'dimensions' is %d; the model's embeddings have %d"
              .formatted(dimension, encoder.dimension()));
    }
    if (!request.normalize() && encoder.normalizes()) {
      throw invalid("'normalize' is false; this model's embeddings always have length 1");
    }
    List<Prompt> prompts = prompts(request, mode);
    long sum = prompts.stream().mapToLong(Prompt::length).sum();
    admit(sum);
    queuedTexts.addAndGet(prompts.size());
    long begin = System.nanoTime();
    List<CompletableFuture<float[]>> works =
        prompts.stream().map(prompt -> encoder.encodePromptAsync(prompt, mode)).toList();
    CompletableFuture<Result> result = new CompletableFuture<>();
    works.forEach(
        work ->
            work.whenComplete(
                (vector, error) -> {
                  if (error != null && result.completeExceptionally(error)) {
                    works.forEach(other -> other.cancel(false)); // Nobody waits for them any more.
                  }
                }));
    CompletableFuture.allOf(works.toArray(CompletableFuture<?>[]::new))
        .thenApply(
            done ->
                new Result(works.stream().map(work -> cut(work.join(), dimension)).toList(), sum))
        .whenComplete(
            (done, error) -> {
              if (error == null) {
                result.complete(done);
              } else {
                result.completeExceptionally(error);
              }
            });
    return result.whenComplete(
        (done, error) -> {
          queuedTokens.addAndGet(-sum);
          queuedTexts.addAndGet(-works.size());
          texts.addAndGet(works.size());
          tokens.addAndGet(sum);
          usualSeconds = 0.8 * usualSeconds + 0.2 * (System.nanoTime() - begin) / 1e9;
        });
  }

  private List<Prompt> prompts(EmbeddingRequest request, Mode mode) {
    Boolean asked = request.truncate();
    boolean cuts = asked == null ? truncates : asked;
    int longest = (request.query() ? encoder.forQueries() : encoder.forPassages()).maxTokens();
    List<Prompt> prompts = new ArrayList<>();
    for (EmbeddingRequest.Input input : request.inputs()) {
      int index = prompts.size();
      Prompt prompt;
      try {
        prompt = prompt(input, mode, longest);
      } catch (IllegalArgumentException | io.llara.TokenizationException e) {
        throw invalid("text %d: %s".formatted(index, e.getMessage()));
      }
      if (prompt.truncatedTokens() > 0 && !cuts) {
        throw invalid(
            "text %d has %d tokens; %d fit into the %d of this model beside its prompt"
                .formatted(
                    index,
                    prompt.textLength() + prompt.truncatedTokens(),
                    prompt.textLength(),
                    longest));
      }
      prompts.add(prompt);
    }
    return prompts;
  }

  private Prompt prompt(EmbeddingRequest.Input input, Mode mode, int longest) {
    int[] ids = input.ids();
    return ids == null
        ? encoder.prompts().build(String.valueOf(input.text()), mode, longest)
        : encoder.prompts().fromIds(ids, mode, longest);
  }

  /** Takes a request in if it may wait; one alone may be larger than the bound. */
  private void admit(long tokens) {
    long before = queuedTokens.getAndAdd(tokens);
    if (before > 0 && before + tokens > limits.queuedTokens()) {
      queuedTokens.addAndGet(-tokens);
      throw overloaded();
    }
  }

  private ApiException overloaded() {
    int seconds = (int) Math.ceil(Math.min(usualSeconds, LONGEST_RETRY_SECONDS));
    return new ApiException(
        Problem.OVERLOADED,
        "too much waits already: %d tokens".formatted(queuedTokens.get()),
        Math.max(1, seconds));
  }

  private static ApiException invalid(String message) {
    return new ApiException(Problem.INVALID, message);
  }

  /** Cuts an embedding, which is scaled to length 1 again if it was before. */
  private float[] cut(float[] embedding, int dimension) {
    if (dimension == embedding.length) {
      return embedding;
    }
    float[] cut = Arrays.copyOf(embedding, dimension);
    if (encoder.normalizes()) {
      double sum = 0;
      for (float value : cut) {
        sum += (double) value * value;
      }
      for (int i = 0; i < dimension && sum > 0; i++) {
        cut[i] = (float) (cut[i] / Math.sqrt(sum));
      }
    }
    return cut;
  }

  long queuedTokens() {
    return queuedTokens.get();
  }

  long queuedTexts() {
    return queuedTexts.get();
  }

  /** Returns how many texts were embedded, or failed. */
  long texts() {
    return texts.get();
  }

  /** Returns how many tokens these had. */
  long tokens() {
    return tokens.get();
  }
}
