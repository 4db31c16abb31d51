package io.llara.train.mining;

/**
 * A passage found for a query.
 *
 * @param place its place in the collection
 * @param score what the search gave it
 */
record Candidate(int place, double score) {}
