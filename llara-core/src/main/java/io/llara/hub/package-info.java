/** Models of the Hugging Face hub, in the cache that its Python client keeps. */
@NullMarked
@Internal
package io.llara.hub;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
