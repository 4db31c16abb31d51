/**
 * Training data: from JSONL files to texts with their targets or queries with their passages,
 * shuffled, split and turned into ids.
 *
 * <p>The way of a text: {@link io.llara.train.data.TextSource} (files and settings) → {@link
 * io.llara.train.data.TextStream} (one pass) → {@link io.llara.train.data.Shuffled} (seeded order,
 * batches, position) → {@link io.llara.train.data.Collator} (ids). The way of a pair: {@link
 * io.llara.train.data.PairSource} → {@link io.llara.train.data.PairStream} → {@link
 * io.llara.train.data.Shuffled} → {@link io.llara.train.data.GroupSampler} (one positive, some
 * negatives).
 */
@NullMarked
package io.llara.train.data;

import org.jspecify.annotations.NullMarked;
