/**
 * How fast encoding is beside bare matrix products on the same machine, how much memory it takes,
 * and whether that stays the same over many calls.
 */
@NullMarked
package io.llara.benchmarks;

import org.jspecify.annotations.NullMarked;
