/**
 * The launcher {@code llara}, one small class a command, and three programs to copy from: {@link
 * io.llara.examples.QuickStart}, {@link io.llara.examples.SearchCorpus}, {@link
 * io.llara.examples.BothModes}.
 */
@NullMarked
package io.llara.examples;

import org.jspecify.annotations.NullMarked;
