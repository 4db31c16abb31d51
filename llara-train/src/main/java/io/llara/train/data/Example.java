package io.llara.train.data;

import com.google.common.primitives.ImmutableIntArray;
import io.llara.prompt.Prompt;

/**
 * One training text as token ids. Made by {@link Collator}. An immutable value.
 *
 * <p>The ids of the text itself are {@code prompt().textIds()}, after any cut: these, and no others
 * of the prompt, are what the next-token loss is about.
 *
 * @param prompt a joint prompt, or for language modelling a plain one
 * @param selfTargets the ids that the SELF embedding must predict, as they come out of the
 *     tokenizer: BOS, if there is one, then the words, in order and with repetitions; empty for a
 *     plain prompt
 * @param nextTargets the ids that the NEXT embedding must predict, likewise
 * @param origin where the text was read, for messages
 */
public record Example(
    Prompt prompt, ImmutableIntArray selfTargets, ImmutableIntArray nextTargets, String origin) {}
