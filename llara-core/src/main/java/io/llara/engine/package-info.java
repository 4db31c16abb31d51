/**
 * The machine under an encoder: prompts in, raw vectors out. Lanes, their queue, packing of
 * batches, pooling.
 */
@NullMarked
@Internal
package io.llara.engine;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
