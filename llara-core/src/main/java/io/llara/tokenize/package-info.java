/**
 * The tokenizer of a model: from text to token ids and back.
 *
 * <p>The one place that knows the native tokenizers library.
 */
@NullMarked
package io.llara.tokenize;

import org.jspecify.annotations.NullMarked;
