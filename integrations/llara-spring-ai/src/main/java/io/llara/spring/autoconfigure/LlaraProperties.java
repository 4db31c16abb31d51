package io.llara.spring.autoconfigure;

import io.llara.ComputeType;
import io.llara.Overflow;
import io.llara.TextModes;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * The properties of the encoder, those of {@link io.llara.EncoderBuilder}; what is not set has its
 * default.
 *
 * @param model Directory of the model, or its name on the Hugging Face hub (owner/name); by default
 *     the model on the class path (llara-mini).
 * @param name Name of the model in responses and meters; by default that of the directory or of the
 *     model on the class path.
 * @param template Name of the prompt template, if the model does not say its own.
 * @param modes Modes of queries and passages.
 * @param adapter Directory of a PEFT LoRA adapter to merge into the weights.
 * @param device Device to compute on, such as cuda:0; the processor by default.
 * @param computeType Type to compute in.
 * @param maxTokens Longest prompt, in tokens.
 * @param queryMaxTokens Longest prompt of a query, in tokens.
 * @param passageMaxTokens Longest prompt of a passage, in tokens.
 * @param onOverflow What happens to texts that do not fit.
 * @param dimension Number of components that embeddings are cut to.
 * @param normalize Whether embeddings are scaled to length 1.
 * @param batchTokens Tokens computed at once on one thread.
 * @param threads Threads that run forward passes.
 * @param copyWeights Whether weights are copied into memory instead of mapped from their files.
 * @param storeBatchTokens Most tokens of the documents that a vector store embeds before it writes
 *     them.
 */
@ConfigurationProperties("llara")
public record LlaraProperties(
    @Nullable String model,
    @Nullable String name,
    @Nullable String template,
    @Nullable TextModes modes,
    @Nullable String adapter,
    @Nullable String device,
    @Nullable ComputeType computeType,
    @Nullable Integer maxTokens,
    @Nullable Integer queryMaxTokens,
    @Nullable Integer passageMaxTokens,
    @Nullable Overflow onOverflow,
    @Nullable Integer dimension,
    @Nullable Boolean normalize,
    @Nullable Integer batchTokens,
    @Nullable Integer threads,
    @DefaultValue("false") boolean copyWeights,
    @DefaultValue("65536") int storeBatchTokens) {}
