/** Comparisons with other programs; compiled with the Maven profile {@code peers} only. */
@NullMarked
package io.llara.benchmarks.peers;

import org.jspecify.annotations.NullMarked;
