package io.llara.retrieval;

/**
 * A document that was found.
 *
 * @param score how well it matches, on the scale of the search: higher is better
 */
public record SearchHit(Document document, double score) {}
