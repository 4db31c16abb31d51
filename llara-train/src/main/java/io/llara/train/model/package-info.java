/** A LLaMA whose weights, or updates of them, are trained. */
@Internal
@NullMarked
package io.llara.train.model;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
