/**
 * Training data: from JSONL files to texts with their targets or queries with their passages,
 * shuffled, split and turned into ids.
 *
 * <p>The way of an example: {@link io.llara.train.data.Dataset} (files and how they are read) →
 * {@link io.llara.train.data.DatasetReader} (one pass) → {@link io.llara.train.data.ShuffleBuffer}
 * (seeded order, batches, position). From there a text goes to the {@link
 * io.llara.train.data.Collator} (ids), a pair to the {@link io.llara.train.data.GroupSampler} (one
 * positive, some negatives).
 */
@NullMarked
package io.llara.train.data;

import org.jspecify.annotations.NullMarked;
