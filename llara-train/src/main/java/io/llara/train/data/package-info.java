/**
 * Training data: from JSONL files to texts with their targets, shuffled, split and turned into ids.
 *
 * <p>The way of a text: {@link io.llara.train.data.TextSource} (files and settings) → {@link
 * io.llara.train.data.TextStream} (one pass) → {@link io.llara.train.data.ShuffledTexts} (seeded
 * order, batches, position) → {@link io.llara.train.data.Collator} (ids).
 */
@NullMarked
package io.llara.train.data;

import org.jspecify.annotations.NullMarked;
