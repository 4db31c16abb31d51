/**
 * What an imported model is compared by: the texts, hidden states for another program to compare
 * with its own, and the next-token loss. See {@code docs/gguf-import.md}.
 */
@NullMarked
package io.llara.benchmarks.imported;

import org.jspecify.annotations.NullMarked;
