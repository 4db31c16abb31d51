/**
 * Training pairs of other people's data sets: collections with judgements, triples, and the lines
 * that other libraries train on.
 */
@NullMarked
package io.llara.train.pairs;

import org.jspecify.annotations.NullMarked;
