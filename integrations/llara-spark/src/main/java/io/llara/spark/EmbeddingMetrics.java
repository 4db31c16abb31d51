package io.llara.spark;

/**
 * What was embedded so far.
 *
 * <p>These are Spark's accumulators, which its UI shows with each stage under the names {@code
 * llara.texts}, {@code llara.tokens} and {@code llara.truncatedTexts}. A task that failed does not
 * count; one whose result was lost and that ran again counts twice.
 *
 * @param texts texts that were embedded: neither null nor blank
 * @param tokens tokens that ran through the model, prompts included
 * @param truncatedTexts texts that were cut because they did not fit
 */
public record EmbeddingMetrics(long texts, long tokens, long truncatedTexts) {}
