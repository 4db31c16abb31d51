/**
 * Who may see whom in a batch of prompts: spans for kernels, and the dense matrices made from them.
 *
 * <p>Everything here is plain arrays; nothing is native.
 */
@NullMarked
package io.llara.attention;

import org.jspecify.annotations.NullMarked;
