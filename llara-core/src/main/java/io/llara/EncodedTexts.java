package io.llara;

import java.util.List;
import java.util.OptionalLong;

/**
 * The embeddings of texts and how many tokens ran for them.
 *
 * @param embeddings one for each text, in the order of the texts
 * @param tokens those of all prompts after any cut; empty if the encoder has no tokenizer
 */
@Internal
public record EncodedTexts(List<float[]> embeddings, OptionalLong tokens) {}
