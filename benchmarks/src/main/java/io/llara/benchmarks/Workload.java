package io.llara.benchmarks;

import io.llara.Mode;
import io.llara.engine.EncodingEngine;
import io.llara.engine.PooledVectors;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * Prompts of given lengths with random ids: one token before the text, eight pooled markers behind
 * it, which are the whole suffix.
 */
final class Workload {
  /** How many tokens of a prompt are pooled. */
  static final int MARKERS = 8;

  /** The longest prompt used anywhere here. */
  static final int MAX_TOKENS = 512;

  private static final long SEED = 1;

  private final List<Prompt> prompts;
  private final long tokens;

  private Workload(List<Prompt> prompts) {
    this.prompts = List.copyOf(prompts);
    this.tokens = prompts.stream().mapToLong(Prompt::length).sum();
  }

  /** Returns {@code batch} prompts of {@code length} tokens each. */
  static Workload of(int batch, int length, int vocabulary) {
    return of(IntStream.range(0, batch).map(i -> length).toArray(), vocabulary);
  }

  /** Returns one prompt for each length, in that order. */
  static Workload of(int[] lengths, int vocabulary) {
    int[] markers = IntStream.range(2, 2 + MARKERS).toArray();
    PromptBuilder builder = PromptBuilder.ofIds(new int[] {1}, markers, markers, MARKERS);
    SplittableRandom random = new SplittableRandom(SEED);
    List<Prompt> prompts = new ArrayList<>(lengths.length);
    for (int length : lengths) {
      int[] text = random.ints(length - 1 - MARKERS, 2 + MARKERS, vocabulary).toArray();
      prompts.add(builder.fromIds(text, Mode.SELF));
    }
    return new Workload(prompts);
  }

  List<Prompt> prompts() {
    return prompts;
  }

  long tokens() {
    return tokens;
  }

  /** Encodes all prompts in one call; a single one as a text by itself, which all lanes share. */
  List<PooledVectors> encode(EncodingEngine engine) {
    return prompts.size() == 1 ? List.of(engine.encode(prompts.get(0))) : engine.encode(prompts);
  }

  /**
   * Encodes once and checks what comes out: a speed counts only for results that are some.
   *
   * @throws IllegalStateException if a vector is missing, of the wrong size, not finite or zero
   */
  void check(EncodingEngine engine) {
    List<PooledVectors> vectors = encode(engine);
    require(vectors.size() == prompts.size(), "one result for each prompt");
    for (PooledVectors pooled : vectors) {
      float[] vector = pooled.get(Mode.SELF);
      require(vector.length == engine.config().hiddenSize(), "vectors of the hidden size");
      double squares = 0;
      for (float value : vector) {
        squares += (double) value * value;
      }
      require(squares > 0 && Double.isFinite(squares), "finite vectors that are not zero");
    }
  }

  private static void require(boolean holds, String expected) {
    if (!holds) {
      throw new IllegalStateException("the engine is wrong: expected " + expected);
    }
  }
}
