/**
 * From a text to the token ids a model reads: prompt recipes, and prompts with their segments.
 *
 * <p>A prompt is prefix, text and suffix, tokenised separately; the suffix ends in the tokens whose
 * hidden states become the embedding.
 */
@NullMarked
package io.llara.prompt;

import org.jspecify.annotations.NullMarked;
