package io.llara;

/**
 * What an encoder has done since it was opened.
 *
 * @param texts texts given to it
 * @param tokens tokens run through the model, prompts included
 * @param truncatedTexts texts that were cut because they did not fit
 * @param truncatedTokens tokens that those cuts removed
 */
public record EncoderStatistics(
    long texts, long tokens, long truncatedTexts, long truncatedTokens) {}
