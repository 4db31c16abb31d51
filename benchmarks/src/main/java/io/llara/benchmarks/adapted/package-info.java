/** What adaptation does to a model, in figures and words: {@code docs/adaptation.md}. */
@NullMarked
package io.llara.benchmarks.adapted;

import org.jspecify.annotations.NullMarked;
